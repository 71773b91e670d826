import type { EngineConfig, EngineInfo } from "../core/engine_config.ts";
import { describePoolCut, type PoolCut, poolCut } from "./pool_cut.ts";

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
