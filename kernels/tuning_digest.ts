import { createHash } from "node:crypto";
import type { Tier } from "../src/device/capabilities.ts";
import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";
import { pagedAttentionCalls } from "./paged_attention.ts";
import { normProductCalls, productCalls } from "./product.ts";
import { samplingCalls } from "./sampling.ts";
import type { StepDims } from "./step.ts";
import type { Tuning } from "./tuning.ts";
import {
  partVariants,
  productVariants,
  ROW_CLASSES,
  type TunedPart,
  type TuningVariant,
} from "./tuning_variants.ts";

/** A product of the sample; it has the epilogue that tiles differ by. */
const PRODUCT = { label: "sample", rows: "tokens", n: 64, k: 256, dtype: "f16" } as const;
/** Two phases of sampling. */
const VOCAB_SIZE = 65_536;
const ATTENTION = { H: 4, G: 2, D: 64, BLOCK_SIZE: 16, KV_DTYPE: "f16" } as const;
const PARTS: readonly TunedPart[] = ["decode", "prefill", "sampling"];

/**
 * SHA-256, hexadecimal, of everything that kernels are expanded from: the templates, and the constants
 * that each variant of a small sample model gives them. Times taken under one digest say nothing of
 * kernels under another. Templates are not expanded for it, so that it costs milliseconds.
 */
export function tuningDigest(tier: Tier, tuning: Tuning): string {
  const hash = createHash("sha256");
  const seen = new Set<string>();
  const add = (text: string) => {
    if (seen.has(text)) return;
    seen.add(text);
    hash.update(`${text.length}\0${text}`);
  };
  for (const { name, apply } of sampleVariants(tier, tuning)) {
    add(name);
    for (const { kernelName, source, constants } of sampleCalls(apply(tuning))) {
      add(source);
      add(kernelName + JSON.stringify(constants));
    }
  }
  return hash.digest("hex");
}

function sampleVariants(tier: Tier, tuning: Tuning): TuningVariant[] {
  return [
    ...ROW_CLASSES.flatMap((rows) => productVariants(tier, tuning, PRODUCT.label, rows)),
    ...PARTS.flatMap((part) => partVariants(tier, part)),
  ];
}

/** The calls of one layer and of sampling, over no memory. */
function sampleCalls(tuning: Tuning): KernelCall<StepDims>[] {
  const buffers = new Proxy({} as Record<string, DeviceBuffer>, {
    get: (_, name) => ({ label: String(name), bytes: 4 }),
  }) as Record<SampleBuffer, DeviceBuffer>;
  return [
    ...normProductCalls({ ...PRODUCT, eps: 1e-5 }, buffers, tuning),
    ...normProductCalls({ ...PRODUCT, epilogue: "silu", eps: 1e-5 }, buffers, tuning),
    ...productCalls({ ...PRODUCT, epilogue: "add" }, buffers, tuning),
    ...pagedAttentionCalls(ATTENTION, buffers, tuning),
    // Some shapes cannot share even where the tuning does.
    ...pagedAttentionCalls(ATTENTION, buffers, { ...tuning, sharesAttention: false }),
    ...samplingCalls(VOCAB_SIZE, buffers, tuning),
  ];
}

type SampleBuffer =
  | "codes"
  | "scales"
  | "step"
  | "x"
  | "norm"
  | "normed"
  | "w"
  | "y"
  | "qkv"
  | "kv"
  | "parts"
  | "peaks"
  | "out"
  | "logits"
  | "sampled";
