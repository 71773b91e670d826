import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import { isQuantizedKv } from "../../src/core/kv_layout.ts";
import { type KvConstants, kvConstants, type KvShape } from "./kv_cache.ts";
import { KV_DTYPES, kvStoreWgsl } from "./dtypes.ts";
import inverseRms from "./_inverse_rms.wgsl" with { type: "text" };
import { MIN_ABSMAX } from "./kv_codes.ts";
import quantizedSource from "./rope_store_quantized_kv.wgsl" with { type: "text" };
import source from "./rope_store_kv.wgsl" with { type: "text" };
import { normalizeRow } from "../norm/rms_norm.ts";
import { storeKeyAndValue } from "./store_kv.ts";
import { STEP, type StepDims, stepWgsl } from "../step.ts";

/**
 * A layer's heads; with `NORM_EPS`, queries and keys are RMS-normalized over D before they are
 * rotated.
 */
export type RopeStoreShape = KvShape & Readonly<{ H: number; NORM_EPS?: number }>;

type Shape =
  & KvShape
  & Readonly<{ H: number; HAS_NORMS: boolean; NORM_EPS: number; WORKGROUP: number }>;

const BINDINGS = [
  { name: "step", access: "read" },
  { name: "rope", access: "read" },
  { name: "qkv", access: "read_write" },
  { name: "kv", access: "read_write" },
  { name: "norms", access: "read" },
] as const;

/** Before either source. */
const STORE_WGSL = `${stepWgsl}${kvStoreWgsl}//# if HAS_NORMS\n${inverseRms}//# end\n`;

/**
 * Rotates q in place and stores rotated k, and v, in a pool of f16 or f32. D is a multiple of 4.
 */
export const ropeStoreKv: Kernel<Shape> = {
  name: "rope_store_kv",
  source: STORE_WGSL + source,
  bindings: BINDINGS,
  reference({ step, rope, qkv, kv, norms }, shape) {
    const { H, G, D, HAS_NORMS, NORM_EPS } = shape;
    const words = step!.u32;
    for (let t = 0; t < words[STEP.numTokens]!; t++) {
      const rows = qkv!.f32.subarray(t * (H + 2 * G) * D, (t + 1) * (H + 2 * G) * D);
      const angles = rope!.f32.subarray(words[words[STEP.positions]! + t]! * D);
      const keysAndValues = rows.slice(H * D);
      const [queries, keys] = [rows.subarray(0, H * D), keysAndValues.subarray(0, G * D)];
      for (const [which, heads] of [queries, keys].entries()) {
        const weights = norms!.f32.subarray(which * D, (which + 1) * D);
        for (let first = 0; first < heads.length; first += D) {
          const head = heads.subarray(first, first + D);
          if (HAS_NORMS) normalizeRow(head, weights, NORM_EPS, head);
          rotate(head, angles);
        }
      }
      const slot = words[words[STEP.slots]! + t]!;
      for (let head = 0; head < G; head++) {
        const [key, value] = [head, head + G].map((g) => keysAndValues.slice(g * D, (g + 1) * D));
        storeKeyAndValue(kv!, { slot, head }, shape, key!, value!);
      }
    }
  },
};

type QuantizedShape = Shape & KvConstants & Readonly<{ CODE_MAX: number; MIN_ABSMAX: number }>;

/** The same for quantized pools. D is a multiple of 8, and of 16 in int4. */
export const ropeStoreQuantizedKv: Kernel<QuantizedShape> = {
  name: "rope_store_quantized_kv",
  source: STORE_WGSL + quantizedSource,
  bindings: BINDINGS,
  reference: ropeStoreKv.reference,
};

/** Rotates dims `(i, i + D/2)` of one head by `angles[i] = (cos, sin)`. */
function rotate(head: Float32Array, angles: Float32Array): void {
  const half = head.length / 2;
  for (let i = 0; i < half; i++) {
    const [a, b] = [head[i]!, head[i + half]!];
    const [cos, sin] = [angles[2 * i]!, angles[2 * i + 1]!];
    head[i] = a * cos - b * sin;
    head[i + half] = b * cos + a * sin;
  }
}

/**
 * Normalizes where the shape says so, rotates and stores every row of the step, for one layer's KV
 * buffer.
 *
 * @param buffers `norms`, f32 [2, D], weights for queries and for keys; only read with `NORM_EPS`.
 */
export function ropeStoreKvCall(
  { NORM_EPS, ...heads }: RopeStoreShape,
  { norms, ...buffers }:
    & Readonly<Record<"step" | "rope" | "qkv" | "kv", DeviceBuffer>>
    & { readonly norms?: DeviceBuffer | undefined },
): KernelCall<StepDims> {
  const { H, G, D, KV_DTYPE: dtype } = heads;
  const layout = kvConstants(heads);
  const lanesPerHead = isQuantizedKv(dtype) ? layout.VECTOR_LOADS / 2 : D / 4;
  // Whole heads, whose lanes have to meet for a norm.
  const WORKGROUP = Math.max(1, Math.floor(64 / lanesPerHead)) * lanesPerHead;
  const shape = { ...heads, HAS_NORMS: NORM_EPS !== undefined, NORM_EPS: NORM_EPS ?? 0, WORKGROUP };
  const call = {
    // Every binding names a buffer; without norms the kernel does not declare the last one.
    buffers: { ...buffers, norms: norms ?? buffers.rope },
    workgroups: ({ numTokens }: StepDims) =>
      [Math.ceil((H + 2 * G) * lanesPerHead / WORKGROUP), numTokens, 1] as const,
  };
  return isQuantizedKv(dtype)
    ? kernelCall(ropeStoreQuantizedKv, {
      ...call,
      constants: { ...shape, ...layout, CODE_MAX: KV_DTYPES[dtype].code.max, MIN_ABSMAX },
    })
    : kernelCall(ropeStoreKv, { ...call, constants: shape });
}
