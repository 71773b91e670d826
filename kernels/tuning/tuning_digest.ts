import { createHash } from "node:crypto";
import type { Tier } from "../../src/device/capabilities.ts";
import type { DeviceBuffer, KernelCall } from "../../src/device/kernel.ts";
import { pagedAttentionCalls } from "../attention/paged_attention.ts";
import { w8a8Variants } from "./w8a8_variants.ts";
import { normProductCalls, productCalls } from "../matmul/product.ts";
import { samplingCalls } from "../sampling/sampling.ts";
import type { StepDims } from "../step.ts";
import type { Tuning } from "./tuning.ts";
import {
  productVariants,
  ROW_CLASSES,
  stageVariants,
  type TunedStage,
  type TuningVariant,
} from "./tuning_variants.ts";

/** A product of the sample; it has the epilogue that tiles differ by. */
const PRODUCT = { label: "sample", rows: "tokens", n: 64, k: 256, dtype: "f16" } as const;
/** Another, of int8 activations where the tuning has them. */
const W8A8 = { ...PRODUCT, dtype: "int8g32" } as const;
/** Two phases of sampling. */
const VOCAB_SIZE = 65_536;
const ATTENTION = { H: 4, G: 2, D: 64, BLOCK_SIZE: 16, KV_DTYPE: "f16" } as const;
const STAGES: readonly TunedStage[] = ["decode", "prefill", "sampling"];

/**
 * SHA-256, hexadecimal, of everything that kernels are expanded from: the templates, and the
 * constants that each variant of a small sample model gives them. Times taken under one digest say
 * nothing of kernels under another. Templates are not expanded for it, so that it costs
 * milliseconds.
 */
export function tuningDigest(tier: Tier, tuning: Tuning): string {
  const hash = createHash("sha256");
  const seen = new Set<string>();
  const add = (text: string) => {
    if (seen.has(text)) return;
    seen.add(text);
    hash.update(`${text.length}\0${text}`);
  };
  const addCalls = (calls: readonly KernelCall<StepDims>[]) => {
    for (const { kernelName, source, constants } of calls) {
      add(source);
      add(kernelName + JSON.stringify(constants));
    }
  };
  for (const { name, apply } of sampleVariants(tier, tuning)) {
    add(name);
    addCalls(sampleCalls(apply(tuning)));
  }
  // Whether or not this server has int8 activations: another may share its file.
  const w8a8 = { ...tuning, usesW8a8: true };
  for (const rows of ROW_CLASSES) {
    for (const { name, apply } of w8a8Variants(tier, W8A8.label, rows)) {
      add(name);
      addCalls(sampleW8a8Calls(apply(w8a8)));
    }
  }
  return hash.digest("hex");
}

function sampleVariants(tier: Tier, tuning: Tuning): TuningVariant[] {
  return [
    ...ROW_CLASSES.flatMap((rows) => productVariants(tier, tuning, PRODUCT.label, rows)),
    ...STAGES.flatMap((stage) => stageVariants(tier, stage)),
  ];
}

const BUFFER_NAMES = [
  ...["step", "x", "norm", "normed", "codes", "scales", "w", "y"] as const,
  ...["qkv", "kv", "partials", "stats", "out", "segments", "logits", "sampled"] as const,
];

/** Over no memory. */
const buffers = Object.fromEntries(
  BUFFER_NAMES.map((label) => [label, { label, bytes: 4 }]),
) as Record<typeof BUFFER_NAMES[number], DeviceBuffer>;

/** The calls of products of int8 activations. */
function sampleW8a8Calls(tuning: Tuning): KernelCall<StepDims>[] {
  return [
    ...normProductCalls({ ...W8A8, epilogue: "silu", eps: 1e-5 }, buffers, tuning),
    ...productCalls({ ...W8A8, epilogue: "add" }, buffers, tuning),
  ];
}

/** The calls of one layer and of sampling. */
function sampleCalls(tuning: Tuning): KernelCall<StepDims>[] {
  return [
    ...normProductCalls({ ...PRODUCT, eps: 1e-5 }, buffers, tuning),
    ...normProductCalls({ ...PRODUCT, epilogue: "silu", eps: 1e-5 }, buffers, tuning),
    ...productCalls({ ...PRODUCT, epilogue: "add" }, buffers, tuning),
    ...pagedAttentionCalls(ATTENTION, buffers, tuning),
    // Some shapes cannot share even where the tuning does.
    ...pagedAttentionCalls(ATTENTION, buffers, { ...tuning, attendsByWorkgroup: false }),
    ...samplingCalls(VOCAB_SIZE, buffers, tuning),
  ];
}
