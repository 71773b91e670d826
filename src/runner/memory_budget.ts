import type { EngineConfig } from "../core/engine_config.ts";
import { StartupError } from "../core/errors.ts";
import {
  bytesPerTokenByLayer,
  KV_STORAGE,
  kvBytesPerBlock,
  type KvGeometry,
  numBlocksForBytes,
  numBlocksForTokens,
} from "../core/kv_layout.ts";

/**
 * Without a size given, the pool starts with room for this many sequences of the longest length ...
 */
const DEFAULT_SEQUENCES = 32;
/**
 * ... but with no more than this: WebGPU does not say how much memory there is. It grows under
 * load.
 */
const DEFAULT_START_BYTES = 2 ** 30;
/**
 * Share of the host's free memory that a pool may grow to where the device uses the host's memory.
 * The rest is for weights, activations and other processes; a software adapter never refuses
 * memory.
 */
const HOST_SHARE = 0.5;

/** How the KV pool is cut, and what that allows. */
export interface KvBudget {
  readonly numBlocks: number;
  /** Blocks that the pool may grow to under load; `numBlocks` where its size was given. */
  readonly growthLimit: number;
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
  geometry: KvGeometry,
  limits: BudgetLimits,
): KvBudget {
  const { blockSize } = config;
  const { modelMaxLen } = limits;
  if (config.maxModelLen !== undefined && config.maxModelLen > modelMaxLen) {
    throw new StartupError(
      `--max-model-len is ${config.maxModelLen}, but the model was made for ${modelMaxLen} tokens`,
    );
  }
  checkHeadDim(geometry);
  const { numBlocks, growthLimit } = poolSizes(config, geometry, limits);
  const poolTokens = numBlocks * blockSize;
  const blockBytes = kvBytesPerBlock(geometry, blockSize);
  if (numBlocks < 1) {
    throw new StartupError(
      `The KV pool has no room for one block of ${blockBytes} bytes; ` +
        `raise --kv-cache-memory-bytes or lower --block-size`,
    );
  }
  if (config.maxModelLen !== undefined && poolTokens < config.maxModelLen) {
    const needed = numBlocksForTokens(config.maxModelLen, blockSize) * blockBytes;
    throw new StartupError(
      `One sequence of --max-model-len ${config.maxModelLen} needs ${needed} bytes of KV, but the ` +
        `pool has ${numBlocks * blockBytes} (${poolTokens} tokens); ` +
        `raise --kv-cache-memory-bytes or set --max-model-len ${poolTokens} or less`,
    );
  }
  const maxModelLen = Math.min(config.maxModelLen ?? modelMaxLen, poolTokens);
  return { numBlocks, growthLimit, maxModelLen, bytes: numBlocks * blockBytes };
}

function checkHeadDim({ dtype, headDim }: KvGeometry): void {
  const multiple = KV_STORAGE[dtype].headDimMultiple;
  if (headDim % multiple === 0) return;
  throw new StartupError(
    `--kv-cache-dtype ${dtype} needs heads of a multiple of ${multiple} elements, but the model's ` +
      `have ${headDim}; f16 stores them`,
  );
}

/** Blocks at the start, and those that the pool may grow to. */
function poolSizes(
  config: EngineConfig,
  geometry: KvGeometry,
  { modelMaxLen, maxBindingBytes, hostFreeBytes }: BudgetLimits,
): { numBlocks: number; growthLimit: number } {
  const { blockSize, numBlocksOverride, kvCacheMemoryBytes, maxKvCacheMemoryBytes } = config;
  const inBytes = (bytes: number) => numBlocksForBytes(bytes, geometry, blockSize);
  const largestLayer = Math.max(...bytesPerTokenByLayer(geometry));
  const bindable = Math.floor(maxBindingBytes / (largestLayer * blockSize));
  const given = numBlocksOverride ??
    (kvCacheMemoryBytes === undefined ? undefined : inBytes(kvCacheMemoryBytes));
  if (given !== undefined) {
    const numBlocks = Math.min(given, bindable);
    return { numBlocks, growthLimit: numBlocks };
  }
  const maxBytes = maxKvCacheMemoryBytes ??
    (hostFreeBytes === undefined ? Infinity : HOST_SHARE * hostFreeBytes);
  const growthLimit = Math.min(inBytes(maxBytes), bindable);
  const modest = Math.min(
    DEFAULT_SEQUENCES * numBlocksForTokens(config.maxModelLen ?? modelMaxLen, blockSize),
    inBytes(DEFAULT_START_BYTES),
  );
  // The pool starts large enough for the length asked for, within its growth limit.
  const asked = numBlocksForTokens(config.maxModelLen ?? 0, blockSize);
  return { numBlocks: Math.min(Math.max(modest, asked), growthLimit), growthLimit };
}
