import type { Model } from "../../models/model.ts";
import { largestThat } from "../base/math.ts";
import { maxLiveBlocks } from "../core/cache_group.ts";
import type { EngineConfig, KvCacheDtype } from "../core/engine_config.ts";
import { StartupError } from "../core/errors.ts";
import { KV_STORAGE } from "../core/kv_layout.ts";
import { numSlabsFor, slabBytesOf } from "../core/kv_buffers.ts";
import { type KvMemory, kvMemory } from "./kv_memory.ts";

/** Without a size given, the pool starts with room for so many sequences of the longest length. */
const DEFAULT_SEQUENCES = 32;
/**
 * Most bytes that a pool without a given size starts with, since WebGPU does not say how much
 * memory there is. It grows under load.
 */
const DEFAULT_START_BYTES = 2 ** 30;
/**
 * Share of the host's free memory that a pool may grow to where the device uses the host's memory.
 * The rest is for weights, activations and other processes; a software adapter never refuses
 * memory.
 */
const MAX_POOL_SHARE_OF_HOST = 0.5;

/**
 * How large the KV pool is, and how long a context that allows: what the field calls the number of
 * GPU blocks (`num_gpu_blocks`) and `max_model_len`.
 */
export interface KvBudget {
  /** Blocks; of a model with several cache groups, slabs (`src/core/kv_buffers.ts`). */
  readonly numBlocks: number;
  /** Blocks that the pool may grow to under load; `numBlocks` where its size was given. */
  readonly maxNumBlocks: number;
  /** Most tokens of one sequence. */
  readonly maxModelLen: number;
  /** Bytes of the whole pool. */
  readonly bytes: number;
}

/** The limits of model and machine. */
export interface BudgetLimits {
  /** Tokens the model was made for. */
  readonly modelMaxLen: number;
  /** Largest buffer that a kernel can bind whole, bytes. */
  readonly maxBindingBytes: number;
  /**
   * Free memory of the host where the device uses it, in bytes; absent where it has memory of its
   * own.
   */
  readonly hostFreeBytes?: number;
}

/**
 * Decides the pool's size from what the user gave, the model, the device's binding limit and, for a
 * device without memory of its own, the host's.
 *
 * @throws {StartupError} when one sequence of `--max-model-len` cannot fit, naming what would, and
 * when the model's heads cannot be stored in the dtype asked for.
 */
export function kvBudget(
  config: EngineConfig,
  model: Pick<Model, "caches">,
  limits: BudgetLimits,
): KvBudget {
  const { modelMaxLen } = limits;
  checkKvSettings(config, model, modelMaxLen);
  const asked = askedLength(config);
  const memory = kvMemory(model, config);
  const { numBlocks, maxNumBlocks } = poolSizes(config, memory, limits);
  const slabBytes = slabBytesOf(memory.layout);
  const longest = largestThat(
    asked ?? modelMaxLen,
    (numTokens) => slabsFor(config, memory, numTokens) <= numBlocks,
  );
  if (longest < 1) {
    const least = slabsFor(config, memory, 1);
    const what = least === 1 ? "one block" : `the ${least} slabs of one token, each`;
    throw new StartupError(
      `The KV pool has no room for ${what} of ${slabBytes} bytes; ` +
        `raise --kv-cache-memory-bytes or lower --block-size`,
    );
  }
  if (asked !== undefined && longest < asked) {
    const needed = slabsFor(config, memory, asked) * slabBytes;
    throw new StartupError(
      `One sequence of --max-model-len ${asked} needs ${needed} bytes of KV, but the ` +
        `pool has ${numBlocks * slabBytes} (${longest} tokens); ` +
        `raise --kv-cache-memory-bytes or set --max-model-len ${longest} or less`,
    );
  }
  return { numBlocks, maxNumBlocks, maxModelLen: longest, bytes: numBlocks * slabBytes };
}

/** The context that the user asks for as a number. */
export function askedLength({ maxModelLen }: EngineConfig): number | undefined {
  return maxModelLen === "auto" ? undefined : maxModelLen;
}

/**
 * Refuses what no amount of memory changes.
 *
 * @throws {StartupError} for a context that the model was not made for, and a dtype that its heads,
 * or their rotated parts, cannot be stored in.
 */
export function checkKvSettings(
  config: EngineConfig,
  { caches, positionTables = {} }: Pick<Model, "caches"> & Partial<Pick<Model, "positionTables">>,
  modelMaxLen: number,
): void {
  const asked = askedLength(config);
  if (asked !== undefined && asked > modelMaxLen) {
    throw new StartupError(
      `--max-model-len is ${asked}, but the model was made for ${modelMaxLen} tokens`,
    );
  }
  for (const spec of caches) {
    if (spec === undefined || spec.kind === "state") continue;
    checkHeadDim(config.kvCacheDtype, spec.headDim, "heads");
  }
  for (const { rotaryDim } of Object.values(positionTables)) {
    checkHeadDim(config.kvCacheDtype, rotaryDim, "rotated parts of heads");
  }
}

/** Bytes of the slabs that one sequence of so many tokens holds at most. */
export function sequenceBytes(
  config: EngineConfig,
  model: Pick<Model, "caches">,
  numTokens: number,
): number {
  const memory = kvMemory(model, config);
  return slabsFor(config, memory, numTokens) * slabBytesOf(memory.layout);
}

function checkHeadDim(dtype: KvCacheDtype, dim: number, what: string): void {
  const multiple = KV_STORAGE[dtype].headDimMultiple;
  if (dim % multiple === 0) return;
  throw new StartupError(
    `--kv-cache-dtype ${dtype} needs ${what} of a multiple of ${multiple} elements, but the ` +
      `model's have ${dim}; f16 stores them`,
  );
}

/** Slabs that one sequence of so many tokens holds at most at once, in all groups. */
function slabsFor(
  { blockSize, maxNumBatchedTokens }: EngineConfig,
  { groups, layout }: KvMemory,
  numTokens: number,
): number {
  const grain = { blockSize, maxInFlightTokens: maxNumBatchedTokens };
  return numSlabsFor(layout, groups.map((group) => maxLiveBlocks(group, numTokens, grain)));
}

/** Slabs at the start, and those that the pool may grow to; blocks, where there is one group. */
function poolSizes(
  config: EngineConfig,
  memory: KvMemory,
  { modelMaxLen, maxBindingBytes, hostFreeBytes }: BudgetLimits,
): { numBlocks: number; maxNumBlocks: number } {
  const { numBlocksOverride, kvCacheMemoryBytes, maxKvCacheMemoryBytes } = config;
  const { layout } = memory;
  const inBytes = (bytes: number) => Math.floor(bytes / slabBytesOf(layout));
  const bindable = Math.floor(maxBindingBytes / Math.max(...layout.slabBytes));
  const given = numBlocksOverride ??
    (kvCacheMemoryBytes === undefined ? undefined : inBytes(kvCacheMemoryBytes));
  if (given !== undefined) {
    const numBlocks = Math.min(given, bindable);
    return { numBlocks, maxNumBlocks: numBlocks };
  }
  const maxBytes = maxKvCacheMemoryBytes ??
    (hostFreeBytes === undefined ? Infinity : MAX_POOL_SHARE_OF_HOST * hostFreeBytes);
  const maxNumBlocks = Math.min(inBytes(maxBytes), bindable);
  const length = config.maxModelLen === "auto" ? modelMaxLen : config.maxModelLen;
  const modest = Math.min(
    DEFAULT_SEQUENCES * slabsFor(config, memory, length ?? modelMaxLen),
    inBytes(DEFAULT_START_BYTES),
  );
  // The pool starts large enough for the length asked for, within its growth limit.
  const asked = slabsFor(config, memory, length ?? 0);
  return { numBlocks: Math.min(Math.max(modest, asked), maxNumBlocks), maxNumBlocks };
}
