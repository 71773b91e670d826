import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import attend from "./_attend.wgsl" with { type: "text" };
import { type KvConstants, kvConstants, type KvShape } from "../kv/kv_cache.ts";
import combineSplits from "./_combine_splits.wgsl" with { type: "text" };
import { kvLoadWgsl } from "../kv/dtypes.ts";
import decodeSource from "./paged_attention_decode.wgsl" with { type: "text" };
import {
  attendDecodes,
  attendTiles,
  type AttentionShape,
  DECODE_BINDINGS,
  PREFILL_BINDINGS,
} from "./paged_attention_definition.ts";
import prefillSource from "./paged_attention_prefill.wgsl" with { type: "text" };
import { pagedAttentionCombineCall } from "./paged_attention_combine.ts";
import { canAttendByWorkgroup, workgroupAttentionCalls } from "./paged_attention_workgroup.ts";
import { type StepDims, stepWgsl } from "../step.ts";
import type { Tuning } from "../tuning/tuning.ts";

type DecodeShape =
  & AttentionShape
  & KvConstants
  & Readonly<{ SPLIT_LEN: number; SPLITS: number }>
  & LaneShape;
type PrefillShape =
  & KvShape
  & KvConstants
  & Readonly<{ H: number; SPLIT_LEN: number; QUERIES: number }>
  & LaneShape;
/** The work of a lane at a time (`_attend.wgsl`). */
type LaneShape = Readonly<{ HEADS: number; POSITIONS: number; SUBGROUPS: boolean }>;

/** Attention of decodes, one partial result per split; `paged_attention_combine` combines them. */
export const pagedAttentionDecode: Kernel<DecodeShape> = {
  name: "paged_attention_decode",
  source: stepWgsl + kvLoadWgsl + decodeSource.replace("${attend}", () => attend),
  bindings: DECODE_BINDINGS,
  reference: attendDecodes,
};

/** Causal attention of chunks, tile by tile, of each row with the bits of a decode. */
export const pagedAttentionPrefill: Kernel<PrefillShape> = {
  name: "paged_attention_prefill",
  source: stepWgsl + kvLoadWgsl + combineSplits + prefillSource.replace("${attend}", () => attend),
  bindings: PREFILL_BINDINGS,
  reference: attendTiles,
};

/** Lanes per workgroup that every adapter allows. */
const MAX_LANES = 256;
/** Lanes that share what they load; a workgroup of lone lanes must fill its subgroups to do so. */
const SHARING_LANES = 8;
/** Most query elements of a lane: all are written out, and compiled. */
const MAX_LANE_QUERY = 256;

/** Heads of a decode that one lane takes together, as many of those of a KV head as fit. */
function headsPerLane({ H, G, D }: Readonly<{ H: number; G: number; D: number }>): number {
  const most = Math.max(1, Math.floor(MAX_LANE_QUERY / D));
  let heads = Math.min(most, H / G);
  while (H / G % heads !== 0) heads--;
  return heads;
}

/**
 * Query rows of a prefill tile, which the step is packed in: the H / G heads of a KV head sit
 * together.
 */
export function attentionQueryTile(
  { H, G }: Readonly<{ H: number; G: number }>,
  tuning: Tuning,
): number {
  return Math.min(tuning.queryTile, Math.floor(MAX_LANES * G / H));
}

/** Attention of one layer: decodes by splits, longer chunks by tiles. */
export function pagedAttentionCalls(
  shape: AttentionShape,
  buffers: Readonly<Record<"step" | "qkv" | "kv" | "partials" | "stats" | "out", DeviceBuffer>>,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const QUERIES = attentionQueryTile(shape, tuning);
  if (tuning.attendsByWorkgroup && canAttendByWorkgroup(shape)) {
    return workgroupAttentionCalls(shape, buffers, { ...tuning, queryTile: QUERIES });
  }
  const { H, G, D, BLOCK_SIZE, KV_DTYPE } = shape;
  const { splitLen, positionTile: POSITIONS } = tuning;
  const base = { H, G, D, BLOCK_SIZE, KV_DTYPE, ...kvConstants(shape, true), POSITIONS };
  const splitsPerWorkgroup = Math.min(tuning.splitsPerWorkgroup, Math.floor(MAX_LANES * G / H));
  const shares = tuning.attentionSubgroups && QUERIES * H / G % SHARING_LANES === 0;
  return [
    kernelCall(pagedAttentionDecode, {
      constants: {
        ...base,
        SPLIT_LEN: splitLen,
        SPLITS: splitsPerWorkgroup,
        HEADS: headsPerLane(shape),
        SUBGROUPS: false,
      },
      buffers,
      workgroups: ({ numSplits }: StepDims) => [Math.ceil(numSplits / splitsPerWorkgroup), G, 1],
    }),
    pagedAttentionCombineCall(shape, buffers, splitLen),
    kernelCall(pagedAttentionPrefill, {
      constants: { ...base, SPLIT_LEN: splitLen, QUERIES, HEADS: 1, SUBGROUPS: shares },
      buffers,
      workgroups: ({ numTiles }: StepDims) => [numTiles, G, 1],
    }),
  ];
}
