import {
  COUNTER_NAMES,
  type CounterName,
  type EngineStats,
  zeroStats,
} from "../core/engine_stats.ts";

/**
 * The engine's statistics over all its lives: each isolate counts from 0, but Prometheus takes a
 * counter that goes down for a restart of the process.
 */
export class LifetimeStats {
  /** The counters at the end of the isolate before this one; its gauges do not matter. */
  #before: EngineStats = zeroStats();
  #current: EngineStats = zeroStats();

  /** Gauges as last posted, counters over all isolates. */
  get current(): EngineStats {
    return this.#current;
  }

  /** An isolate is ready, whose pool of `numBlocks` blocks is free. */
  beginIsolate(numBlocks: number): void {
    this.#current = { ...this.#current, numBlocks, numFreeBlocks: numBlocks };
  }

  /** Counts what the main isolate sees of it, and no isolate can. */
  count(name: CounterName): void {
    this.#before = { ...this.#before, [name]: this.#before[name] + 1 };
    this.#current = { ...this.#current, [name]: this.#current[name] + 1 };
  }

  /** Takes in the statistics that an isolate has posted. */
  update(posted: EngineStats): void {
    const totals = COUNTER_NAMES.map((name) => [name, this.#before[name] + posted[name]]);
    this.#current = { ...posted, ...Object.fromEntries(totals) };
  }

  /** The isolate is gone, and with it all that ran, waited or held a block. */
  endIsolate(): void {
    const { numBlocks } = this.#current;
    this.#current = {
      ...this.#current,
      numRunning: 0,
      numWaiting: 0,
      numDeferred: 0,
      numFreeBlocks: numBlocks,
      numCachedBlocks: 0,
      numPinnedBlocks: 0,
      numSwapped: 0,
      numUsedSwapBlocks: 0,
    };
    this.#before = this.#current;
  }
}
