import {
  type DeviceBuffer,
  type Kernel,
  type KernelCall,
  kernelCall,
} from "../../src/device/kernel.ts";
import reads from "../kv/_reads.wgsl" with { type: "text" };
import softCap from "./_soft_cap.wgsl" with { type: "text" };
import splits from "./_splits.wgsl" with { type: "text" };
import attend from "./_attend.wgsl" with { type: "text" };
import type { AttentionLayer } from "../kv/attention_layer.ts";
import { type KvConstants, kvConstants } from "../kv/kv_cache.ts";
import { KV_STORAGE } from "../../src/core/kv_layout.ts";
import combineSplits from "./_combine_splits.wgsl" with { type: "text" };
import { kvLoadWgsl } from "../kv/dtypes.ts";
import { hadamardHeadsCall } from "./hadamard_heads.ts";
import decodeSource from "./paged_attention_decode.wgsl" with { type: "text" };
import {
  attendDecodes,
  attendTiles,
  type AttentionShape,
  attentionShape,
  DECODE_BINDINGS,
  PREFILL_BINDINGS,
} from "./paged_attention_definition.ts";
import prefillSource from "./paged_attention_prefill.wgsl" with { type: "text" };
import { pagedAttentionCombineCall } from "./paged_attention_combine.ts";
import { canAttendByWorkgroup, workgroupAttentionCalls } from "./paged_attention_workgroup.ts";
import { groupStepWgsl, ofGroup, type StepDims } from "../step.ts";
import { MAX_LANES, type Tuning } from "../tuning/tuning.ts";

type DecodeShape = AttentionShape & KvConstants & Readonly<{ SPLITS: number }> & LaneShape;
type PrefillShape = AttentionShape & KvConstants & Readonly<{ QUERIES: number }> & LaneShape;
/** The work of a lane at a time (`_attend.wgsl`). */
type LaneShape = Readonly<{ HEADS: number; POSITIONS: number; SUBGROUPS: boolean }>;

/** Before all sources. */
const SHARED_WGSL = groupStepWgsl + kvLoadWgsl + reads + softCap;

/** Attention of decodes, one partial result per split; `paged_attention_combine` combines them. */
export const pagedAttentionDecode: Kernel<DecodeShape> = {
  name: "paged_attention_decode",
  source: SHARED_WGSL + splits + decodeSource.replace("${attend}", () => attend),
  bindings: DECODE_BINDINGS,
  reference: attendDecodes,
};

/** Causal attention of chunks, tile by tile, of each row with the bits of a decode. */
export const pagedAttentionPrefill: Kernel<PrefillShape> = {
  name: "paged_attention_prefill",
  source: SHARED_WGSL + combineSplits + splits + prefillSource.replace("${attend}", () => attend),
  bindings: PREFILL_BINDINGS,
  reference: attendTiles,
};

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

/** The buffers of a layer's attention; KV and step as its shape says. */
export type AttentionBuffers =
  & Readonly<Record<"step" | "qkv" | "kv" | "partials" | "stats" | "out", DeviceBuffer>>
  & {
    /**
     * f32 [H]: a score of each head that takes its share of the weights and has no value (learned
     * attention sinks, gpt-oss, arXiv:2508.10925); absent for none.
     */
    readonly sinks?: DeviceBuffer | undefined;
  };

/**
 * Attention of one layer: decodes by splits, longer chunks by query tiles. `out` f32 [T, H, D]
 * becomes `softmax(soft_cap(SCALE * q . K)) V` over what the layer's queries read.
 *
 *     runs on           decodes        combines       chunks
 *     software adapter  decode         combine        prefill
 *     GPU               ..._workgroup  ..._workgroup  prefill_workgroup
 *     GPU, with         ..._workgroup  combine        prefill_splits_workgroup
 *     --deterministic
 *
 * All names begin with `paged_attention_`. A GPU runs the first line for head dims that the kernels
 * of the others do not take ({@link canAttendByWorkgroup}).
 */
export function pagedAttentionCalls(
  layer: AttentionLayer,
  { step, qkv, kv, partials, stats, out, sinks }: AttentionBuffers,
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const QUERIES = attentionQueryTile(layer, tuning);
  const { splitLen: SPLIT_LEN } = tuning;
  const shape = attentionShape(layer, { SPLIT_LEN, HAS_SINKS: sinks !== undefined });
  // Every binding names a buffer; without sinks the kernels do not declare theirs.
  const buffers = { step, qkv, kv, partials, stats, out, sinks: sinks ?? step };
  const calls = tuning.attendsByWorkgroup && canAttendByWorkgroup(shape)
    ? workgroupAttentionCalls(shape, buffers, { ...tuning, queryTile: QUERIES })
    : laneAttentionCalls(shape, buffers, { ...tuning, queryTile: QUERIES });
  const { isTransformed } = KV_STORAGE[layer.KV_DTYPE];
  return isTransformed ? [...calls, hadamardHeadsCall(layer, { step, out })] : calls;
}

/** Attention by lanes without barriers; `queryTile` is the rows of a tile. */
function laneAttentionCalls(
  shape: AttentionShape,
  buffers: Readonly<Record<keyof AttentionBuffers, DeviceBuffer>>,
  { queryTile: QUERIES, positionTile: POSITIONS, ...tuning }: Tuning,
): KernelCall<StepDims>[] {
  const { H, G, GROUP } = shape;
  const base = { ...shape, ...kvConstants(shape, true), POSITIONS };
  const splitsPerWorkgroup = Math.min(tuning.splitsPerWorkgroup, Math.floor(MAX_LANES * G / H));
  const shares = tuning.attentionSubgroups && QUERIES * H / G % SHARING_LANES === 0;
  return [
    kernelCall(pagedAttentionDecode, {
      constants: {
        ...base,
        SPLITS: splitsPerWorkgroup,
        HEADS: headsPerLane(shape),
        SUBGROUPS: false,
      },
      buffers,
      workgroups: ({ numSplits }: StepDims) =>
        [Math.ceil(ofGroup(numSplits, GROUP) / splitsPerWorkgroup), G, 1] as const,
    }),
    pagedAttentionCombineCall(shape, buffers),
    kernelCall(pagedAttentionPrefill, {
      constants: { ...base, QUERIES, HEADS: 1, SUBGROUPS: shares },
      buffers,
      workgroups: ({ numQueryTiles }: StepDims) => [numQueryTiles, G, 1],
    }),
  ];
}
