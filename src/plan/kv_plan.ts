import { omitUndefined } from "../base/omit_undefined.ts";
import type { CacheSpec } from "../core/cache_group.ts";
import { KV_CACHE_DTYPES, type KvCacheDtype } from "../core/engine_config.ts";
import { StartupError } from "../core/errors.ts";
import { type KvFormat, layerDtype } from "../core/kv_layout.ts";
import { bytesPerToken, bytesPerTokenByGroup, layerBytes } from "./kv_dtypes.ts";
import { groupsOf, type ModelShape } from "./model_shape.ts";
import {
  concurrency,
  largestBufferBytes,
  longestSequence,
  plannedSequenceBytes,
  planPool,
  shareUnread,
} from "./sequence_size.ts";
import { planTraffic, type Traffic, type TrafficPlan, typicalTraffic } from "./traffic_plan.ts";
import { type PlannedWeights, plannedWeights } from "./weight_bytes.ts";

/** How the memory of a device is divided, bytes. */
export interface DivisionOfMemory {
  readonly totalBytes: number;
  readonly weights: PlannedWeights;
  readonly activationBytes: number;
}

/** Inputs of a plan. */
export interface PlanOptions {
  /** Bytes of the KV pool, all layers together. */
  readonly memoryBytes: number;
  /** Token positions per block. */
  readonly blockSize: number;
  /** Most tokens of one step. */
  readonly maxNumBatchedTokens: number;
  /** Most tokens of one sequence; default: what the model is made for. */
  readonly maxModelLen?: number;
  /** KV dtype that allocators are compared in; default: f16. */
  readonly dtype?: KvCacheDtype;
  /** Whether quantized dtypes keep the first and the last layer in f16; default: int4 does. */
  readonly f16EdgeLayers?: boolean;
  /** Requests to compare allocators on; default: lengths like ShareGPT's and Alpaca's. */
  readonly traffic?: readonly Traffic[];
  /** What a file's weights take in its own types; the plan lists them first. */
  readonly fileWeights?: PlannedWeights;
  /** What `memoryBytes` is left over from, if that was asked for. */
  readonly division?: DivisionOfMemory;
}

/** One KV dtype's row of a plan. */
export interface DtypePlan {
  readonly dtype: KvCacheDtype;
  /** Whether the first and the last layer are in f16 instead. */
  readonly hasF16EdgeLayers: boolean;
  readonly bytesPerToken: number;
  /** Bytes of the blocks of all groups that hold the same positions. */
  readonly bytesPerBlock: number;
  /** Blocks of all layers; a window's layers need fewer, which `lengths` takes into account. */
  readonly numBlocks: number;
  readonly numTokens: number;
  /** Bytes of the largest buffer, of one layer or of several; a device limits what can be bound. */
  readonly layerBufferBytes: number;
  /** Most tokens of one sequence that has the pool to itself, at most `maxModelLen`. */
  readonly longestLen: number;
  /** By group, in the order of the plan's groups. */
  readonly groups: readonly {
    /** Of the layers that are in `dtype`. */
    readonly bytesPerTokenAndLayer: number;
    readonly bytesPerToken: number;
  }[];
  /** Sequences that run at once if all are that long and share nothing. */
  readonly lengths: readonly {
    readonly len: number;
    readonly bytes: number;
    readonly numSequences: number;
  }[];
}

/** Layers that keep the same, and how many they are. */
export type PlannedGroup = CacheSpec & { readonly name: string; readonly numLayers: number };

/** All that `quire plan` prints, as plain data. */
export interface KvPlan {
  readonly model: string;
  readonly memoryBytes: number;
  readonly division?: DivisionOfMemory;
  readonly blockSize: number;
  readonly maxModelLen: number;
  readonly maxNumBatchedTokens: number;
  readonly numLayers: number;
  /**
   * Bytes of the weights by format, which are not in `memoryBytes`; empty where they are not known.
   */
  readonly weights: readonly PlannedWeights[];
  readonly groups: readonly PlannedGroup[];
  /** Part of a sequence of `maxModelLen` that windows make unread; 0 without windows. */
  readonly shareUnread: number;
  readonly dtypes: readonly DtypePlan[];
  /** KV dtype of `traffic`. */
  readonly dtype: KvCacheDtype;
  readonly traffic: readonly TrafficPlan[];
}

/**
 * Plans the KV memory of a model.
 *
 * @throws {StartupError} when `maxModelLen` is more than the model was made for.
 */
export function planKv(shape: ModelShape, options: PlanOptions): KvPlan {
  const { memoryBytes, blockSize, maxNumBatchedTokens, dtype = "f16", fileWeights } = options;
  const maxModelLen = options.maxModelLen ?? shape.maxModelLen;
  if (maxModelLen > shape.maxModelLen) {
    throw new StartupError(
      `--max-model-len is ${maxModelLen}, but ${shape.name} was made for ${shape.maxModelLen} tokens`,
    );
  }
  const limits = { ...options, maxModelLen };
  return {
    model: shape.name,
    memoryBytes,
    ...omitUndefined({ division: options.division }),
    blockSize,
    maxModelLen,
    maxNumBatchedTokens,
    numLayers: shape.caches.length,
    weights: [...fileWeights === undefined ? [] : [fileWeights], ...plannedWeights(shape)],
    groups: groupsOf(shape).map(({ layers, ...group }) => ({ ...group, numLayers: layers.length })),
    shareUnread: shareUnread(shape, maxModelLen, { ...options, dtype }),
    dtypes: KV_CACHE_DTYPES.map((planned) => planDtype(shape, planned, limits)),
    dtype,
    traffic: (options.traffic ?? typicalTraffic()).map((traffic) =>
      planTraffic(shape, traffic, { ...limits, dtype })
    ),
  };
}

type Limits = PlanOptions & { readonly maxModelLen: number };

function planDtype(shape: ModelShape, dtype: KvCacheDtype, limits: Limits): DtypePlan {
  const { memoryBytes, blockSize, maxModelLen, maxNumBatchedTokens } = limits;
  const format: KvFormat = { dtype, f16EdgeLayers: limits.f16EdgeLayers };
  const pool = planPool(shape, { blockSize, maxNumBatchedTokens, ...format });
  const perToken = bytesPerToken(shape, format);
  const byGroup = bytesPerTokenByGroup(shape, format);
  const numBlocks = Math.floor(memoryBytes / (perToken * blockSize));
  return {
    dtype,
    hasF16EdgeLayers: layerDtype(format, true) !== dtype,
    bytesPerToken: perToken,
    bytesPerBlock: perToken * blockSize,
    numBlocks,
    numTokens: numBlocks * blockSize,
    layerBufferBytes: largestBufferBytes(pool, memoryBytes),
    longestLen: longestSequence(pool, memoryBytes, maxModelLen),
    groups: groupsOf(shape).map((group, index) => ({
      bytesPerTokenAndLayer: layerBytes(group, dtype),
      bytesPerToken: byGroup[index]!,
    })),
    lengths: plannedLengths(maxModelLen).map((len) => ({
      len,
      bytes: plannedSequenceBytes(pool, len),
      numSequences: Math.floor(concurrency(pool, memoryBytes, len)),
    })),
  };
}

/** Powers of two from 512 up to `maxModelLen`, and that itself. */
function plannedLengths(maxModelLen: number): number[] {
  const lengths = [];
  for (let len = 512; len < maxModelLen; len *= 2) lengths.push(len);
  return [...lengths, maxModelLen];
}
