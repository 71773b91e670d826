import type { EngineConfig, KvCacheDtype } from "../core/engine_config.ts";
import { StartupError } from "../core/errors.ts";
import {
  bytesPerTokenByLayer,
  kvBytesPerBlock,
  type KvGeometry,
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
 * @throws {StartupError} when one sequence of `--max-model-len` cannot fit, naming what would, and when
 * the model's heads cannot be stored in the dtype asked for.
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
  checkHeadDim(geometry);
  const largestLayer = Math.max(...bytesPerTokenByLayer(geometry));
  const bindable = Math.floor(maxBindingBytes / (largestLayer * blockSize));
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

/** Each half of a head, which rotation pairs with the other, is stored in whole words. */
const HEAD_DIM_MULTIPLE: Readonly<Record<KvCacheDtype, number>> = {
  f16: 4,
  f32: 4,
  int8: 8,
  fp8: 8,
  int4: 16,
};

function checkHeadDim({ dtype, headDim }: KvGeometry): void {
  const multiple = HEAD_DIM_MULTIPLE[dtype];
  if (headDim % multiple === 0) return;
  throw new StartupError(
    `--kv-cache-dtype ${dtype} needs heads of a multiple of ${multiple} elements, but the model's ` +
      `have ${headDim}; f16 stores them`,
  );
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
