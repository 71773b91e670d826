import type { EngineInfo } from "../../src/core/engine_config.ts";
import type { Generation, GenerationRequest } from "../../src/core/generation.ts";
import { FakeEngine, INFO } from "../http/fake_engine.ts";

/** A sequence whose blocks are cached. */
interface OneFullGroupPath {
  readonly scope: string | undefined;
  readonly ids: readonly number[];
}

/**
 * The fake engine with a prefix cache by definition: of a prompt, the longest run of whole blocks
 * is found that a prompt or an answer of the same scope begins with, never the last token.
 */
export class ModelledCacheEngine extends FakeEngine {
  override info: EngineInfo;
  #cached: OneFullGroupPath[] = [];
  #evicted: OneFullGroupPath[] = [];

  constructor(vocabSize: number) {
    super();
    this.info = { ...INFO, vocabSize, maxModelLen: 8192, numBlocks: 1024 };
  }

  override submit(request: GenerationRequest): Promise<Generation> {
    const { cacheScope: scope } = request;
    const found = request.sequences.map(({ prompt, readout }) => ({
      numCachedTokens: readout === undefined ? this.#find(this.#cached, scope, prompt) : 0,
      numGone: this.#find(this.#evicted, scope, prompt),
    }));
    this.override = (event, outputIndex) => {
      if (outputIndex > 0) return event;
      const { numCachedTokens, numGone } = found[event.index]!;
      const numTokens = numGone - numCachedTokens;
      return {
        ...event,
        numCachedTokens,
        ...(numTokens > 0 && { evicted: { numTokens, agoMs: 1500 } }),
      };
    };
    request.sequences.forEach(({ prompt }, index) =>
      this.#cached.push({ scope, ids: [...prompt, ...this.script(index, request)].slice(0, -1) })
    );
    return super.submit(request);
  }

  /** Everything is evicted, of late or so long ago that the engine does not remember it. */
  evictAll(isRemembered: boolean): void {
    if (isRemembered) this.#evicted.push(...this.#cached);
    const numEvictedBlocks = this.stats.numEvictedBlocks + 100;
    this.stats = { ...this.stats, numEvictedBlocks };
    this.#cached = [];
  }

  /** The cache is emptied on demand. */
  resetCache(): void {
    this.stats = { ...this.stats, numResetBlocks: this.stats.numResetBlocks + 10 };
    this.lose();
  }

  /** Another isolate takes over. */
  restart(): void {
    this.numRestarts++;
    this.lose();
  }

  /** What has been computed is not there, and nobody says why. */
  lose(): void {
    this.#cached = [];
    this.#evicted = [];
  }

  #find(
    paths: readonly OneFullGroupPath[],
    scope: string | undefined,
    prompt: Uint32Array,
  ): number {
    const { blockSize } = this.info;
    const lengths = paths.map((path) => {
      if (path.scope !== scope) return 0;
      const differs = prompt.findIndex((id, at) => path.ids[at] !== id);
      const length = differs === -1 ? prompt.length : differs;
      return Math.floor(Math.min(length, prompt.length - 1) / blockSize) * blockSize;
    });
    return Math.max(0, ...lengths);
  }
}
