import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../src/device/kernel.ts";
import { type KvConstants, kvConstants, type KvShape } from "./kv_cache.ts";
import kvElements from "./kv_elements.wgsl" with { type: "text" };
import decodeSource from "./paged_attention_decode_shared.wgsl" with { type: "text" };
import {
  attendDecodes,
  attendTiles,
  type AttentionShape,
  DECODE_BINDINGS,
  PREFILL_BINDINGS,
  REDUCE_BINDINGS,
  reduceSplits,
} from "./paged_attention_definition.ts";
import prefillSource from "./paged_attention_prefill_shared.wgsl" with { type: "text" };
import reduceSource from "./paged_attention_reduce_shared.wgsl" with { type: "text" };
import { type StepDims, stepWgsl } from "./step.ts";

type DecodeShape =
  & AttentionShape
  & KvConstants
  & Readonly<{ SPLIT_LEN: number; LANES: number; HEADS: number }>
  & Readonly<{ SLICES: number; COLUMN_GROUPS: number }>;
type PrefillShape =
  & KvShape
  & KvConstants
  & Readonly<{ H: number; ROW_GROUPS: number; ROW_LANES: number }>;

/** Attention of decodes, the query heads of one KV head together, as GPUs like it. */
export const pagedAttentionDecodeShared: Kernel<DecodeShape> = {
  name: "paged_attention_decode_shared",
  source: stepWgsl + kvElements + decodeSource,
  bindings: DECODE_BINDINGS,
  reference: attendDecodes,
};

/** Joins the splits of each decode's heads, many splits at a time. */
export const pagedAttentionReduceShared: Kernel<
  Readonly<{ H: number; D: number; MAX_SPLITS: number; SPLIT_LEN: number; LANES: number }>
> = {
  name: "paged_attention_reduce_shared",
  source: stepWgsl + reduceSource,
  bindings: REDUCE_BINDINGS,
  reference: reduceSplits,
};

/** Causal attention of chunks, with tiles of K in shared memory. */
export const pagedAttentionPrefillShared: Kernel<PrefillShape> = {
  name: "paged_attention_prefill_shared",
  source: stepWgsl + kvElements + prefillSource,
  bindings: PREFILL_BINDINGS,
  reference: attendTiles,
};

/** Lanes of each workgroup; a power of two, and at least `D / 4`. */
const LANES = 128;
/** What WebGPU promises of shared memory, bytes. */
const MAX_SHARED_BYTES = 16_384;
/** Query heads whose sums a lane keeps in registers. */
const MAX_HEADS = 8;
/** Rows of a workgroup of prefill. */
const PREFILL_ROWS = 64;

/** Whether the kernels here take a shape: two lanes at least share a position's loads. */
export function canShareAttention(shape: KvShape): boolean {
  return kvConstants(shape).VECTOR_LOADS % 2 === 0 && shape.D <= 4 * LANES;
}

/** Attention of one layer on a GPU; `splitLen` is a multiple of 64. */
export function sharedAttentionCalls(
  shape: AttentionShape,
  buffers: Readonly<Record<"step" | "qkv" | "kv" | "parts" | "peaks" | "out", DeviceBuffer>>,
  { splitLen, queryTile }: { splitLen: number; queryTile: number },
): KernelCall<StepDims>[] {
  const { H, G, D, MAX_SPLITS, BLOCK_SIZE, KV_DTYPE } = shape;
  const layout = kvConstants(shape);
  const base = { H, G, D, BLOCK_SIZE, KV_DTYPE, ...layout };
  const SLICES = layout.VECTOR_LOADS % 4 === 0 ? 4 : 2;
  const HEADS = headsTogether(shape, { splitLen, slices: SLICES });
  const ROW_GROUPS = Math.ceil(queryTile * H / G / PREFILL_ROWS);
  return [
    kernelCall(pagedAttentionDecodeShared, {
      constants: {
        ...base,
        MAX_SPLITS,
        SPLIT_LEN: splitLen,
        LANES,
        HEADS,
        SLICES,
        COLUMN_GROUPS: Math.floor(LANES / layout.VECTOR_LOADS),
      },
      buffers,
      workgroups: ({ numDecodes, maxDecodeLen }: StepDims) => [
        Math.ceil(maxDecodeLen / splitLen),
        H / HEADS,
        numDecodes,
      ],
    }),
    kernelCall(pagedAttentionReduceShared, {
      constants: { H, D, MAX_SPLITS, SPLIT_LEN: splitLen, LANES },
      buffers,
      workgroups: ({ numDecodes }: StepDims) => [H, numDecodes, 1],
    }),
    kernelCall(pagedAttentionPrefillShared, {
      constants: { ...base, ROW_GROUPS, ROW_LANES: rowLanes(layout.VECTOR_LOADS) },
      buffers,
      workgroups: ({ numTiles }: StepDims) => [numTiles, G * ROW_GROUPS, 1],
    }),
  ];
}

/** Most query heads of one KV head that registers and shared memory hold; divides their number. */
function headsTogether(
  { H, G, D }: AttentionShape,
  { splitLen, slices }: { splitLen: number; slices: number },
): number {
  for (let heads = Math.min(MAX_HEADS, H / G); heads > 1; heads--) {
    const partials = Math.max(heads * splitLen * slices, 4 * LANES);
    const bytes = 4 * (heads * D + partials + heads * (splitLen + 1) + heads * 8 * 2);
    if (H / G % heads === 0 && bytes <= MAX_SHARED_BYTES) return heads;
  }
  return 1;
}

/** Lanes along the rows of prefill's output: a power of two that fits beside those along D. */
function rowLanes(vectorLoads: number): number {
  return Math.min(16, 2 ** Math.floor(Math.log2(LANES / vectorLoads)));
}
