import type { EngineConfig, EngineInfo } from "../core/engine_config.ts";
import { describeReducedPool, type ReducedPool, reducePool } from "./reduced_pool.ts";

/** The configuration that isolates are started with: as it was given, until memory has run out. */
export class StartConfig {
  #config: EngineConfig;
  #reduced: ReducedPool | undefined;

  constructor(config: EngineConfig) {
    this.#config = config;
  }

  /** That of the next isolate. */
  get current(): EngineConfig {
    return this.#config;
  }

  /** What is not as it was given, one sentence. */
  get notice(): string | undefined {
    return this.#reduced && describeReducedPool(this.#reduced);
  }

  /**
   * The next isolate gets a smaller pool than one that has run out of memory. Where its size was
   * left open it still is, up to that.
   */
  reducePool(info: EngineInfo): ReducedPool {
    const reduced = reducePool(info);
    const blockBytes = info.kvCacheBytes / info.numBlocks;
    const size = isPoolOpen(this.#config)
      ? { maxKvCacheMemoryBytes: reduced.numAfter * blockBytes }
      : { numBlocksOverride: reduced.numAfter };
    this.#config = { ...this.#config, ...size };
    this.#reduced = { ...reduced, numBefore: this.#reduced?.numBefore ?? reduced.numBefore };
    return reduced;
  }
}

/** Whether the pool may be smaller where there is less room, and grow under load. */
function isPoolOpen(
  { numBlocksOverride, kvCacheMemoryBytes, gpuMemoryBytes }: EngineConfig,
): boolean {
  return numBlocksOverride === undefined && kvCacheMemoryBytes === undefined &&
    gpuMemoryBytes === undefined;
}
