import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import reads from "../kv/_reads.wgsl" with { type: "text" };
import softCap from "./_soft_cap.wgsl" with { type: "text" };
import splits from "./_splits.wgsl" with { type: "text" };
import attend from "./_attend_workgroup.wgsl" with { type: "text" };
import attendMemory from "./_attend_workgroup_memory.wgsl" with { type: "text" };
import combineSplits from "./_combine_splits.wgsl" with { type: "text" };
import { type KvConstants, kvConstants, type KvShape } from "../kv/kv_cache.ts";
import { kvLoadWgsl } from "../kv/dtypes.ts";
import decodeSource from "./paged_attention_decode_workgroup.wgsl" with { type: "text" };
import {
  attendDecodes,
  attendTiles,
  type AttentionShape,
  COMBINE_BINDINGS,
  combineAllSplits,
  type CombineShape,
  combineShape,
  DECODE_BINDINGS,
  PREFILL_BINDINGS,
} from "./paged_attention_definition.ts";
import prefillSource from "./paged_attention_prefill_workgroup.wgsl" with { type: "text" };
import splitsSource from "./paged_attention_prefill_splits_workgroup.wgsl" with { type: "text" };
import { pagedAttentionCombineCall } from "./paged_attention_combine.ts";
import combineSource from "./paged_attention_combine_workgroup.wgsl" with { type: "text" };
import { groupStepWgsl, ofGroup, type StepDims } from "../step.ts";
import type { Tuning } from "../tuning/tuning.ts";

/** Before all sources of attention to K and V. */
const SHARED_WGSL = groupStepWgsl + kvLoadWgsl + reads + softCap;

/** Constants of a workgroup that attends to a split (`_attend_workgroup.wgsl`). */
type SplitShape = SplitLanes & Readonly<{ HEADS: number; KEPT_SUMS: number }>;
type SplitLanes =
  & AttentionShape
  & KvConstants
  & Readonly<{ LANES: number; SLICES: number }>
  & Readonly<{ COLUMN_GROUPS: number; SCORE_LANES: number; SHUFFLE_LANES: number }>;
type PrefillShape =
  & AttentionShape
  & KvConstants
  & Readonly<{ ROW_GROUPS: number; ROW_LANES: number }>;

/**
 * Attention of decodes by a workgroup per split, for several query heads of one KV head at once.
 */
export const pagedAttentionDecodeWorkgroup: Kernel<SplitShape> = {
  name: "paged_attention_decode_workgroup",
  source: SHARED_WGSL + splits + attendMemory + decodeSource.replace("${attend}", () => attend),
  bindings: DECODE_BINDINGS,
  reference: attendDecodes,
};

/** Combines the splits of each decode's heads, many splits at a time. */
export const pagedAttentionCombineWorkgroup: Kernel<CombineShape & Readonly<{ LANES: number }>> = {
  name: "paged_attention_combine_workgroup",
  source: groupStepWgsl + reads + splits + combineSource,
  bindings: COMBINE_BINDINGS,
  reference: combineAllSplits,
};

/** Causal attention of chunks, with tiles of K in shared memory. */
export const pagedAttentionPrefillWorkgroup: Kernel<PrefillShape> = {
  name: "paged_attention_prefill_workgroup",
  source: SHARED_WGSL + prefillSource,
  bindings: PREFILL_BINDINGS,
  reference: attendTiles,
};

/**
 * {@link pagedAttentionPrefillWorkgroup} that gives each row the bits it would have as a decode.
 */
export const pagedAttentionPrefillSplitsWorkgroup: Kernel<
  SplitShape & Readonly<{ QUERY_GROUPS: number }>
> = {
  name: "paged_attention_prefill_splits_workgroup",
  source: SHARED_WGSL + splits + attendMemory + combineSplits +
    splitsSource.replace("${attend}", () => attend),
  bindings: PREFILL_BINDINGS,
  reference: attendTiles,
};

/** Lanes of each workgroup; a power of two, and at least `D / 4`. */
const LANES = 128;
/** Shared memory of a workgroup that every WebGPU device has, bytes. */
const MAX_SHARED_BYTES = 16_384;
/** Queries whose sums a lane keeps in registers. */
const MAX_QUERIES = 8;
/** Lanes that share out a query's scores: of `LANES`, as many as `MAX_QUERIES` leave each. */
const MAX_SCORE_LANES = LANES / MAX_QUERIES;
/** Rows of a workgroup of prefill. */
const PREFILL_ROWS = 64;

/** Whether the kernels here take a shape: two lanes at least share a position's loads. */
export function canAttendByWorkgroup(shape: KvShape): boolean {
  return kvConstants(shape).VECTOR_LOADS % 2 === 0 && shape.D <= 4 * LANES;
}

type AttentionBuffers = Readonly<
  Record<"step" | "qkv" | "kv" | "partials" | "stats" | "out" | "sinks", DeviceBuffer>
>;

/**
 * Attention of one layer on a GPU; SPLIT_LEN is a multiple of 64. `queryTile` is the rows of a
 * tile.
 *
 * `isDeterministic` combines splits in their order, and has chunks do as decodes do: the first
 * costs decodes a little, the second prompts more.
 */
export function workgroupAttentionCalls(
  shape: AttentionShape,
  buffers: AttentionBuffers,
  { queryTile, shuffleLanes, isDeterministic }: Pick<
    Tuning,
    "queryTile" | "shuffleLanes" | "isDeterministic"
  >,
): KernelCall<StepDims>[] {
  const { H, G, GROUP } = shape;
  const layout = kvConstants(shape);
  const base = { ...shape, ...layout };
  const split = { ...base, LANES, ...lanesOf(layout.VECTOR_LOADS, shuffleLanes) };
  const HEADS = headsTogether(split);
  const ROW_GROUPS = Math.ceil(queryTile * H / G / PREFILL_ROWS);
  const decode = kernelCall(pagedAttentionDecodeWorkgroup, {
    constants: { ...split, HEADS, KEPT_SUMS: keptSums(split, HEADS) },
    buffers,
    workgroups: ({ numSplits }: StepDims) => [ofGroup(numSplits, GROUP), H / HEADS, 1],
  });
  if (isDeterministic) {
    const combine = pagedAttentionCombineCall(shape, buffers);
    return [decode, combine, prefillSplitsCall(split, buffers, queryTile)];
  }
  return [
    decode,
    kernelCall(pagedAttentionCombineWorkgroup, {
      constants: { ...combineShape(shape), LANES },
      buffers,
      workgroups: ({ numDecodes }: StepDims) => [H, numDecodes, 1],
    }),
    kernelCall(pagedAttentionPrefillWorkgroup, {
      constants: { ...base, ROW_GROUPS, ROW_LANES: rowLanes(layout.VECTOR_LOADS) },
      buffers,
      workgroups: ({ numQueryTiles }: StepDims) => [numQueryTiles, G * ROW_GROUPS, 1],
    }),
  ];
}

function prefillSplitsCall(
  split: SplitLanes,
  buffers: AttentionBuffers,
  queryTile: number,
): KernelCall<StepDims> {
  const HEADS = queriesTogether(split);
  const QUERY_GROUPS = Math.ceil(queryTile * split.H / split.G / HEADS);
  return kernelCall(pagedAttentionPrefillSplitsWorkgroup, {
    constants: { ...split, HEADS, KEPT_SUMS: keptSums(split, HEADS), QUERY_GROUPS },
    buffers,
    workgroups: ({ numQueryTiles }: StepDims) => [numQueryTiles, split.G * QUERY_GROUPS, 1],
  });
}

/** The work of each lane of a split's workgroup, where `shuffleLanes` of a subgroup add up. */
function lanesOf(
  vectorLoads: number,
  shuffleLanes: number,
): Pick<SplitShape, "SLICES" | "COLUMN_GROUPS" | "SCORE_LANES" | "SHUFFLE_LANES"> {
  const SLICES = vectorLoads % 4 === 0 ? 4 : 2;
  const groups = Math.floor(LANES / vectorLoads);
  const shuffled = Math.min(shuffleLanes, 2 ** Math.floor(Math.log2(groups)));
  // Of short vectors few lanes would sum up V: better barriers than less than half of the lanes.
  if (shuffleLanes >= SLICES && 2 * shuffled >= groups) {
    const SCORE_LANES = Math.min(shuffleLanes, MAX_SCORE_LANES);
    return { SLICES, COLUMN_GROUPS: shuffled, SCORE_LANES, SHUFFLE_LANES: shuffleLanes };
  }
  return { SLICES, COLUMN_GROUPS: groups, SCORE_LANES: 8, SHUFFLE_LANES: 1 };
}

/** Most query heads of one KV head that a workgroup takes together; divides their number. */
function headsTogether(split: SplitLanes): number {
  let heads = Math.min(queriesTogether(split), split.H / split.G);
  while (split.H / split.G % heads > 0) heads--;
  return heads;
}

/** Most queries that registers and shared memory hold. */
function queriesTogether({ D, SPLIT_LEN, SLICES, SHUFFLE_LANES }: SplitLanes): number {
  for (let queries = MAX_QUERIES; queries > 1; queries--) {
    const partials = SHUFFLE_LANES > 1 ? 0 : partialWords({ SPLIT_LEN, SLICES }, queries);
    const words = queries * D + partials + queries * (SPLIT_LEN + 1) + queries * (8 + 1) * 2;
    if (4 * words <= MAX_SHARED_BYTES) return queries;
  }
  return 1;
}

/** Words of the scores of each lane, or of a sum of each. */
function partialWords(
  { SPLIT_LEN, SLICES }: Pick<SplitLanes, "SPLIT_LEN" | "SLICES">,
  queries: number,
): number {
  return Math.max(queries * SPLIT_LEN * SLICES, 4 * LANES);
}

/** Sums of each lane that fit where its scores were. */
function keptSums(split: SplitLanes, queries: number): number {
  return Math.floor(partialWords(split, queries) / (4 * LANES));
}

/** Lanes along the rows of prefill's output: a power of two that fits beside those along D. */
function rowLanes(vectorLoads: number): number {
  return Math.min(16, 2 ** Math.floor(Math.log2(LANES / vectorLoads)));
}
