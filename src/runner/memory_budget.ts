import type { EngineConfig } from "../core/engine_config.ts";
import { StartupError } from "../core/errors.ts";
import {
  kvBytesPerBlock,
  type KvGeometry,
  layerBytesPerToken,
  numBlocksForBytes,
  numBlocksForTokens,
} from "../core/kv_layout.ts";

/** Without a size given, the pool holds this many sequences of the longest length ... */
const DEFAULT_SEQUENCES = 32;
/** ... but takes no more than this: WebGPU does not say how much memory there is. */
const DEFAULT_MAX_BYTES = 2 ** 30;

/** How the KV pool is cut, and what that allows. */
export interface KvBudget {
  readonly numBlocks: number;
  /** Most tokens of one sequence. */
  readonly maxModelLen: number;
  /** Bytes of the whole pool. */
  readonly bytes: number;
}

/**
 * Decides the pool's size from what the user gave, the model and the device's binding limit.
 *
 * @throws {StartupError} when one sequence of `--max-model-len` cannot fit, naming what would.
 */
export function kvBudget(
  config: EngineConfig,
  geometry: KvGeometry,
  { modelMaxLen, maxBindingBytes }: { modelMaxLen: number; maxBindingBytes: number },
): KvBudget {
  const { blockSize } = config;
  if (config.maxModelLen !== undefined && config.maxModelLen > modelMaxLen) {
    throw new StartupError(
      `--max-model-len is ${config.maxModelLen}, but the model was made for ${modelMaxLen} tokens`,
    );
  }
  const wanted = config.maxModelLen ?? modelMaxLen;
  const bindable = Math.floor(maxBindingBytes / (layerBytesPerToken(geometry) * blockSize));
  const numBlocks = Math.min(askedBlocks(config, geometry, wanted), bindable);
  const poolTokens = numBlocks * blockSize;
  if (numBlocks < 1) {
    throw new StartupError(
      `The KV pool has no room for one block of ${kvBytesPerBlock(geometry, blockSize)} bytes; ` +
        `raise --kv-cache-memory-bytes or lower --block-size`,
    );
  }
  if (config.maxModelLen !== undefined && poolTokens < config.maxModelLen) {
    const needed = numBlocksForTokens(config.maxModelLen, blockSize) *
      kvBytesPerBlock(geometry, blockSize);
    throw new StartupError(
      `One sequence of --max-model-len ${config.maxModelLen} needs ${needed} bytes of KV, but the ` +
        `pool has ${numBlocks * kvBytesPerBlock(geometry, blockSize)} (${poolTokens} tokens); ` +
        `raise --kv-cache-memory-bytes or set --max-model-len ${poolTokens} or less`,
    );
  }
  return {
    numBlocks,
    maxModelLen: Math.min(wanted, poolTokens),
    bytes: numBlocks * kvBytesPerBlock(geometry, blockSize),
  };
}

function askedBlocks(config: EngineConfig, geometry: KvGeometry, maxModelLen: number): number {
  const { blockSize, numBlocksOverride, kvCacheMemoryBytes } = config;
  if (numBlocksOverride !== undefined) return numBlocksOverride;
  if (kvCacheMemoryBytes !== undefined) {
    return numBlocksForBytes(kvCacheMemoryBytes, geometry, blockSize);
  }
  return Math.min(
    DEFAULT_SEQUENCES * numBlocksForTokens(maxModelLen, blockSize),
    numBlocksForBytes(DEFAULT_MAX_BYTES, geometry, blockSize),
  );
}
