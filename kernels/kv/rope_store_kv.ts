import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import { invariant } from "../../src/base/invariant.ts";
import { isQuantizedKv, KV_STORAGE } from "../../src/core/kv_layout.ts";
import { type AttentionLayer, qkvHeads } from "./attention_layer.ts";
import { type KvConstants, kvConstants, type KvPlace, kvPlace, type KvShape } from "./kv_cache.ts";
import { KV_DTYPES, kvStoreWgsl } from "./dtypes.ts";
import { hadamard, hadamardBlock, hadamardWgsl } from "./hadamard.ts";
import inverseRms from "./_inverse_rms.wgsl" with { type: "text" };
import { MIN_ABSMAX } from "./kv_codes.ts";
import quantizedSource from "./rope_store_quantized_kv.wgsl" with { type: "text" };
import source from "./rope_store_kv.wgsl" with { type: "text" };
import { normalizeRow } from "../norm/rms_norm.ts";
import { MAX_TRANSFORMED, storeKeyAndValue } from "./store_kv.ts";
import { GROUP_WORDS, groupStepWgsl, STEP, type StepDims } from "../step.ts";

type Shape =
  & KvShape
  & KvPlace
  & Readonly<{ H: number; HEADS: number; ROTARY_DIM: number; NORM_EPS: number; WORKGROUP: number }>
  & Readonly<{ HAS_NORMS: boolean; HAS_BIASES: boolean; STORES: boolean }>
  & Readonly<{ QUERY_RATE: number; QUERY_SPAN: number }>;

const BINDINGS = [
  { name: "step", access: "read" },
  { name: "rope", access: "read" },
  { name: "qkv", access: "read_write" },
  { name: "kv", access: "read_write", base: ["LAYER_OFFSET", "LAYER_OFFSET_LOADS"] },
  { name: "norms", access: "read" },
  { name: "biases", access: "read" },
] as const;

/** Before either source. */
const STORE_WGSL = groupStepWgsl + kvStoreWgsl;

/**
 * Adds biases, normalizes and rotates queries and keys, multiplies queries by their growth with the
 * position, and stores keys and values in a pool of f16 or f32: each where the shape says so.
 * Queries stay in place. D is a multiple of 4.
 */
export const ropeStoreKv: Kernel<Shape> = {
  name: "rope_store_kv",
  source: `${STORE_WGSL}//# if HAS_NORMS\n${inverseRms}//# end\n${source}`,
  bindings: BINDINGS,
  reference({ step, rope, qkv, kv, norms, biases }, shape) {
    const { G, D, H, HEADS, ROTARY_DIM, HAS_NORMS, HAS_BIASES, NORM_EPS, STORES, GROUP } = shape;
    const { isTransformed } = KV_STORAGE[shape.KV_DTYPE];
    const words = step!.u32;
    for (let t = 0; t < words[STEP.numTokens]!; t++) {
      const rows = qkv!.f32.subarray(t * HEADS * D, (t + 1) * HEADS * D);
      const row = words[words[STEP.angles]! + t]!;
      const angles = rope!.f32.subarray(row * ROTARY_DIM);
      // What the pool gets does not pass through `qkv`.
      const computed = rows.slice();
      if (HAS_BIASES) computed.forEach((x, i) => computed[i] = x + biases!.f32[i]!);
      for (let head = 0; head < Math.min(HEADS, H + G); head++) {
        const row = computed.subarray(head * D, (head + 1) * D);
        const weights = norms!.f32.subarray(head < H ? 0 : D).subarray(0, D);
        if (HAS_NORMS) normalizeRow(row, weights, NORM_EPS, row);
        rotate(row.subarray(0, ROTARY_DIM), angles);
        if (isTransformed && head < H) hadamard(row);
      }
      const growth = queryGrowth(shape, words[words[STEP.positions]! + t]!);
      for (let i = 0; i < H * D; i++) computed[i] = computed[i]! * growth;
      rows.set(computed.subarray(0, H * D));
      if (!STORES) continue;
      const slot = words[words[STEP.slots + GROUP * GROUP_WORDS]! + t]!;
      for (let head = 0; head < G; head++) {
        const [key, value] = [H + head, H + G + head]
          .map((h) => computed.slice(h * D, (h + 1) * D));
        storeKeyAndValue(kv!, { slot, head }, shape, key!, value!);
      }
    }
  },
};

type QuantizedShape =
  & Shape
  & KvConstants
  & Readonly<{
    CODE_MAX: number;
    /** `KvCode.shares`, separated by commas. */
    SHARES: string;
    MIN_ABSMAX: number;
    /** Bits of the least f32 that counts as not finite. */
    FINITE_BITS: number;
    /** Elements that are transformed together, of the LANE_DIMS of a lane; 0 for none. */
    HADAMARD: number;
    LANE_DIMS: number;
  }>;

/** The same for quantized pools. D is a multiple of 8. */
export const ropeStoreQuantizedKv: Kernel<QuantizedShape> = {
  name: "rope_store_quantized_kv",
  source: STORE_WGSL + quantizedSource.replace("${hadamard}", () => hadamardWgsl),
  bindings: BINDINGS,
  reference: ropeStoreKv.reference,
};

/** The factor of queries at a position (Llama 4). */
function queryGrowth(
  { QUERY_RATE, QUERY_SPAN }: Pick<Shape, "QUERY_RATE" | "QUERY_SPAN">,
  position: number,
): number {
  if (QUERY_SPAN === 0) return 1;
  return 1 + QUERY_RATE * Math.log(1 + Math.floor(position / QUERY_SPAN));
}

/** Rotates dims `(i, i + half)` of the rotary part of a head by `angles[i] = (cos, sin)`. */
function rotate(part: Float32Array, angles: Float32Array): void {
  const half = part.length / 2;
  for (let i = 0; i < half; i++) {
    const [a, b] = [part[i]!, part[i + half]!];
    const [cos, sin] = [angles[2 * i]!, angles[2 * i + 1]!];
    part[i] = a * cos - b * sin;
    part[i + half] = b * cos + a * sin;
  }
}

/** The buffers of {@link ropeStoreKvCall}; with queries alone `kv` is bound, and not touched. */
export type RopeStoreBuffers =
  & Readonly<Record<"step" | "qkv" | "kv", DeviceBuffer>>
  & {
    /** f32 [P, ROTARY_DIM / 2, 2], cosines and sines by `angles`; needed unless nothing rotates. */
    readonly rope?: DeviceBuffer | undefined;
    /** f32 [2, D], weights for queries and for keys; read with NORM_EPS alone. */
    readonly norms?: DeviceBuffer | undefined;
    /** f32, as long as a row of `qkv`, which they are added to before all else; absent for none. */
    readonly biases?: DeviceBuffer | undefined;
  };

/**
 * {@link ropeStoreKv}, or of a quantized pool {@link ropeStoreQuantizedKv}, for one layer and every
 * row of the step: what the layer does not do is left out.
 */
export function ropeStoreKvCall(
  layer: AttentionLayer,
  { rope, norms, biases, ...buffers }: RopeStoreBuffers,
): KernelCall<StepDims> {
  const { H, G, D, BLOCK_SIZE, KV_DTYPE, QUERIES_ONLY = false, ROTARY_DIM = D } = layer;
  checkRotaryDim(layer);
  invariant(ROTARY_DIM === 0 || rope !== undefined, "a layer with positions has no rotary table");
  invariant(layer.NORM_EPS === undefined || norms !== undefined, "norms of heads have no weights");
  const HEADS = qkvHeads(layer);
  const shape = {
    ...{ H, G, D, BLOCK_SIZE, KV_DTYPE, HEADS, ROTARY_DIM, STORES: !QUERIES_ONLY },
    ...{ HAS_NORMS: layer.NORM_EPS !== undefined, NORM_EPS: layer.NORM_EPS ?? 0 },
    HAS_BIASES: biases !== undefined,
    ...{ QUERY_RATE: layer.QUERY_RATE ?? 0, QUERY_SPAN: layer.QUERY_SPAN ?? 0 },
    ...kvPlace(layer),
  };
  const { step } = buffers;
  // Every binding names a buffer; the kernel declares those alone that it reads.
  const bound = { ...buffers, rope: rope ?? step, norms: norms ?? step, biases: biases ?? step };
  const lanesPerHead = isQuantizedKv(KV_DTYPE) ? 1 : D / 4;
  // Whole heads, whose lanes have to meet for a norm.
  const heads = Math.max(1, Math.floor(64 / lanesPerHead));
  const WORKGROUP = Math.min(heads, isQuantizedKv(KV_DTYPE) ? HEADS : heads) * lanesPerHead;
  const workgroups = ({ numTokens }: StepDims) =>
    [Math.ceil(HEADS * lanesPerHead / WORKGROUP), numTokens, 1] as const;
  if (!isQuantizedKv(KV_DTYPE)) {
    const constants = { ...shape, WORKGROUP };
    return kernelCall(ropeStoreKv, { constants, buffers: bound, workgroups });
  }
  const constants = { ...shape, WORKGROUP, ...kvConstants(layer), ...codeConstants(layer) };
  return kernelCall(ropeStoreQuantizedKv, { constants, buffers: bound, workgroups });
}

/** Bits of infinity in f32. */
const INFINITE_BITS = 0x7f800000;

/** The constants of codes, and of what happens before them. */
function codeConstants({ D, KV_DTYPE }: AttentionLayer) {
  invariant(isQuantizedKv(KV_DTYPE), `${KV_DTYPE} has no codes`);
  const { code: { max, shares }, isTransformed } = KV_DTYPES[KV_DTYPE];
  const [limit] = new Uint32Array(Float32Array.of(MAX_TRANSFORMED).buffer);
  return {
    ...{ CODE_MAX: max, SHARES: shares.join(), MIN_ABSMAX },
    FINITE_BITS: isTransformed ? limit! : INFINITE_BITS,
    ...{ HADAMARD: isTransformed ? hadamardBlock(D) : 0, LANE_DIMS: D },
  };
}

/** Both parts of a head, the rotated and the other, are whole loads of each of their halves. */
function checkRotaryDim({ D, KV_DTYPE, ROTARY_DIM = D }: AttentionLayer): void {
  const multiple = KV_STORAGE[KV_DTYPE].headDimMultiple;
  invariant(
    ROTARY_DIM <= D && ROTARY_DIM % multiple === 0,
    `${ROTARY_DIM} of ${D} elements are rotated, not a multiple of ${multiple} in ${KV_DTYPE}`,
  );
}
