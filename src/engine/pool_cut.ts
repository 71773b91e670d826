import type { EngineConfig, EngineInfo } from "../core/engine_config.ts";
import { numLongestSequences } from "../core/pool_capacity.ts";

/** Share of its blocks that a pool keeps after the device has run out of memory. */
const KEPT_SHARE = 1 / 2;

/** A pool that becomes smaller, in blocks. */
export interface PoolCut {
  readonly numBefore: number;
  readonly numAfter: number;
}

/**
 * How small the pool of an engine is to be that has run out of memory: half of what it was, but
 * never less than one sequence of the greatest length takes, so that every request still fits that
 * has been accepted.
 */
export function poolCut(info: EngineInfo): PoolCut {
  const least = Math.ceil(info.numBlocks / numLongestSequences(info));
  const numAfter = Math.max(least, Math.floor(info.numBlocks * KEPT_SHARE));
  return { numBefore: info.numBlocks, numAfter: Math.min(info.numBlocks, numAfter) };
}

/** The cut in a sentence for people. */
export function describePoolCut({ numBefore, numAfter }: PoolCut): string {
  const size = numAfter < numBefore
    ? `${numAfter} KV blocks in place of ${numBefore}`
    : `${numAfter} KV blocks, which one sequence of the greatest length takes`;
  return `Since the engine ran out of memory, it starts with at most ${size}`;
}

/** The configuration that isolates are started with: as it was given, until memory has run out. */
export class StartConfig {
  #config: EngineConfig;
  #cut: PoolCut | undefined;

  constructor(config: EngineConfig) {
    this.#config = config;
  }

  /** That of the next isolate. */
  get current(): EngineConfig {
    return this.#config;
  }

  /** What is not as it was given, one sentence. */
  get notice(): string | undefined {
    return this.#cut && describePoolCut(this.#cut);
  }

  /**
   * The next isolate gets a smaller pool than one that has run out of memory. Where its size was
   * left open it still is, up to that.
   */
  cutPool(info: EngineInfo): PoolCut {
    const cut = poolCut(info);
    const blockBytes = info.kvCacheBytes / info.numBlocks;
    const size = isPoolOpen(this.#config)
      ? { maxKvCacheMemoryBytes: cut.numAfter * blockBytes }
      : { numBlocksOverride: cut.numAfter };
    this.#config = { ...this.#config, ...size };
    this.#cut = { ...cut, numBefore: this.#cut?.numBefore ?? cut.numBefore };
    return cut;
  }
}

/** Whether the pool may be smaller where there is less room, and grow under load. */
function isPoolOpen(
  { numBlocksOverride, kvCacheMemoryBytes, gpuMemoryBytes }: EngineConfig,
): boolean {
  return numBlocksOverride === undefined && kvCacheMemoryBytes === undefined &&
    gpuMemoryBytes === undefined;
}
