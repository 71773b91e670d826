import type { EngineStats } from "../core/engine_config.ts";

const ZERO: EngineStats = {
  numRunning: 0,
  numWaiting: 0,
  numBlocks: 0,
  numFreeBlocks: 0,
  numCachedBlocks: 0,
  numPinnedBlocks: 0,
  numSteps: 0,
  numPreemptions: 0,
  numComputedPromptTokens: 0,
  numPromptTokens: 0,
  numGeneratedTokens: 0,
  numQueriedTokens: 0,
  numHitTokens: 0,
  numEvictedTokens: 0,
  numUnsharableTokens: 0,
  numRequeriedTokens: 0,
  numRehitTokens: 0,
  numEvictedBlocks: 0,
  numResetBlocks: 0,
  numPoolGrowths: 0,
  numPoolResizes: 0,
  numShrinkEvictedBlocks: 0,
  stepMs: 0,
  hostMs: 0,
  overlappedMs: 0,
};

/** Everything else is a gauge. */
const COUNTERS = [
  "numSteps",
  "numPreemptions",
  "numComputedPromptTokens",
  "numPromptTokens",
  "numGeneratedTokens",
  "numQueriedTokens",
  "numHitTokens",
  "numEvictedTokens",
  "numUnsharableTokens",
  "numRequeriedTokens",
  "numRehitTokens",
  "numEvictedBlocks",
  "numResetBlocks",
  "numPoolGrowths",
  "numPoolResizes",
  "numShrinkEvictedBlocks",
  "stepMs",
  "hostMs",
  "overlappedMs",
] as const satisfies readonly (keyof EngineStats)[];

/**
 * The engine's statistics over all its lives: each isolate counts from 0, but a counter that goes
 * down is no counter to whoever reads the metrics.
 */
export class LifetimeStats {
  /** The counters at the end of the isolate before this one; its gauges do not matter. */
  #before: EngineStats = ZERO;
  #current: EngineStats = ZERO;

  /** Gauges as last posted, counters over all isolates. */
  get current(): EngineStats {
    return this.#current;
  }

  /** Takes in what an isolate has posted. */
  update(posted: EngineStats): void {
    const totals = COUNTERS.map((name) => [name, this.#before[name] + posted[name]]);
    this.#current = { ...posted, ...Object.fromEntries(totals) };
  }

  /** The isolate is gone, and with it all that ran, waited or held a block. */
  endIsolate(): void {
    const { numBlocks } = this.#current;
    this.#current = {
      ...this.#current,
      numRunning: 0,
      numWaiting: 0,
      numFreeBlocks: numBlocks,
      numCachedBlocks: 0,
      numPinnedBlocks: 0,
    };
    this.#before = this.#current;
  }
}
