import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../src/device/kernel.ts";
import attend from "./attend_shared.wgsl" with { type: "text" };
import attendMemory from "./attend_shared_memory.wgsl" with { type: "text" };
import joinSplits from "./join_splits.wgsl" with { type: "text" };
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
import splitsSource from "./paged_attention_prefill_splits_shared.wgsl" with { type: "text" };
import { pagedAttentionReduceCall } from "./paged_attention_reduce.ts";
import reduceSource from "./paged_attention_reduce_shared.wgsl" with { type: "text" };
import { type StepDims, stepWgsl } from "./step.ts";

/** How a workgroup attends to a split, see `attend_shared.wgsl`. */
type SplitShape =
  & KvShape
  & KvConstants
  & Readonly<{ H: number; SPLIT_LEN: number; HEADS: number }>
  & Readonly<{ LANES: number; SLICES: number; COLUMN_GROUPS: number }>;
type PrefillShape =
  & KvShape
  & KvConstants
  & Readonly<{ H: number; SPLIT_LEN: number; ROW_GROUPS: number; ROW_LANES: number }>;

/** Attention of decodes, the query heads of one KV head together, as GPUs like it. */
export const pagedAttentionDecodeShared: Kernel<SplitShape> = {
  name: "paged_attention_decode_shared",
  source: stepWgsl + kvElements + attendMemory + decodeSource.replace("${attend}", () => attend),
  bindings: DECODE_BINDINGS,
  reference: attendDecodes,
};

/** Joins the splits of each decode's heads, many splits at a time. */
export const pagedAttentionReduceShared: Kernel<
  Readonly<{ H: number; D: number; SPLIT_LEN: number; LANES: number }>
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

/** {@link pagedAttentionPrefillShared} that gives each row the bits it would have as a decode. */
export const pagedAttentionPrefillSplitsShared: Kernel<
  SplitShape & Readonly<{ QUERY_GROUPS: number }>
> = {
  name: "paged_attention_prefill_splits_shared",
  source: stepWgsl + kvElements + attendMemory + joinSplits +
    splitsSource.replace("${attend}", () => attend),
  bindings: PREFILL_BINDINGS,
  reference: attendTiles,
};

/** Lanes of each workgroup; a power of two, and at least `D / 4`. */
const LANES = 128;
/** What WebGPU promises of shared memory, bytes. */
const MAX_SHARED_BYTES = 16_384;
/** Queries whose sums a lane keeps in registers. */
const MAX_QUERIES = 8;
/** Rows of a workgroup of prefill. */
const PREFILL_ROWS = 64;

/** Whether the kernels here take a shape: two lanes at least share a position's loads. */
export function canShareAttention(shape: KvShape): boolean {
  return kvConstants(shape).VECTOR_LOADS % 2 === 0 && shape.D <= 4 * LANES;
}

type AttentionBuffers = Readonly<
  Record<"step" | "qkv" | "kv" | "parts" | "peaks" | "out", DeviceBuffer>
>;

/**
 * Attention of one layer on a GPU; `splitLen` is a multiple of 64.
 *
 * `isDeterministic` joins splits in their order, and has chunks do as decodes do: the first costs
 * decodes a little, the second prompts more.
 */
export function sharedAttentionCalls(
  shape: AttentionShape,
  buffers: AttentionBuffers,
  { splitLen, queryTile, isDeterministic }: {
    splitLen: number;
    queryTile: number;
    isDeterministic: boolean;
  },
): KernelCall<StepDims>[] {
  const { H, G, D, BLOCK_SIZE, KV_DTYPE } = shape;
  const layout = kvConstants(shape);
  const base = { H, G, D, BLOCK_SIZE, KV_DTYPE, ...layout, SPLIT_LEN: splitLen };
  const split = {
    ...base,
    LANES,
    SLICES: layout.VECTOR_LOADS % 4 === 0 ? 4 : 2,
    COLUMN_GROUPS: Math.floor(LANES / layout.VECTOR_LOADS),
  };
  const HEADS = headsTogether(split);
  const ROW_GROUPS = Math.ceil(queryTile * H / G / PREFILL_ROWS);
  const decode = kernelCall(pagedAttentionDecodeShared, {
    constants: { ...split, HEADS },
    buffers,
    workgroups: ({ numSplits }: StepDims) => [numSplits, H / HEADS, 1],
  });
  if (isDeterministic) {
    const reduce = pagedAttentionReduceCall(shape, buffers, splitLen);
    return [decode, reduce, prefillSplitsCall(split, buffers, queryTile)];
  }
  return [
    decode,
    kernelCall(pagedAttentionReduceShared, {
      constants: { H, D, SPLIT_LEN: splitLen, LANES },
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

function prefillSplitsCall(
  split: Omit<SplitShape, "HEADS">,
  buffers: AttentionBuffers,
  queryTile: number,
): KernelCall<StepDims> {
  const HEADS = queriesTogether(split);
  const QUERY_GROUPS = Math.ceil(queryTile * split.H / split.G / HEADS);
  return kernelCall(pagedAttentionPrefillSplitsShared, {
    constants: { ...split, HEADS, QUERY_GROUPS },
    buffers,
    workgroups: ({ numTiles }: StepDims) => [numTiles, split.G * QUERY_GROUPS, 1],
  });
}

/** Most query heads of one KV head that a workgroup takes together; divides their number. */
function headsTogether(split: Omit<SplitShape, "HEADS">): number {
  let heads = Math.min(queriesTogether(split), split.H / split.G);
  while (split.H / split.G % heads > 0) heads--;
  return heads;
}

/** Most queries that registers and shared memory hold. */
function queriesTogether({ D, SPLIT_LEN, SLICES }: Omit<SplitShape, "HEADS">): number {
  for (let queries = MAX_QUERIES; queries > 1; queries--) {
    const partials = Math.max(queries * SPLIT_LEN * SLICES, 4 * LANES);
    const words = queries * D + partials + queries * (SPLIT_LEN + 1) + queries * (8 + 1) * 2;
    if (4 * words <= MAX_SHARED_BYTES) return queries;
  }
  return 1;
}

/** Lanes along the rows of prefill's output: a power of two that fits beside those along D. */
function rowLanes(vectorLoads: number): number {
  return Math.min(16, 2 ** Math.floor(Math.log2(LANES / vectorLoads)));
}
