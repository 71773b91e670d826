import type { EngineStats } from "../../core/engine_stats.ts";

/** Moments that are kept: a quarter of an hour of watching. */
const MAX_MOMENTS = 900;

/** Time between two moments, ms. */
const MOMENT_MS = 1000;

/** How the server was over about a second. Rates are per second, times ms, shares 0 to 1. */
export interface Moment {
  /** Unix time of its end, ms. */
  readonly time_ms: number;
  readonly generated_per_s: number;
  readonly prompt_per_s: number;
  readonly cached_per_s: number;
  readonly running: number;
  readonly waiting: number;
  /** Null where nothing was measured. */
  readonly ttft_p50_ms: number | null;
  readonly ttft_p95_ms: number | null;
  readonly inter_token_p50_ms: number | null;
  readonly inter_token_p95_ms: number | null;
  readonly hit_rate: number | null;
  /** Shares of the pool. */
  readonly in_use: number;
  readonly cached: number;
}

/** What a latency is of. */
export type LatencyKind = "first_token" | "next_token";

/** The figures of a server second by second, as long as somebody watches. */
export class MachineHistory {
  readonly #moments: Moment[] = [];
  #before: { readonly stats: EngineStats; readonly timeMs: number } | undefined;
  #latencies: Record<LatencyKind, number[]> = { first_token: [], next_token: [] };

  /** All that is kept, oldest first. */
  get moments(): readonly Moment[] {
    return this.#moments;
  }

  /** Somebody begins to watch: what was counted meanwhile belongs to no second. */
  begin(): void {
    this.#before = undefined;
    this.#latencies = { first_token: [], next_token: [] };
  }

  observe(kind: LatencyKind, seconds: number): void {
    this.#latencies[kind].push(seconds * 1000);
  }

  /** Adds a moment and returns it, where the last one is long enough ago. */
  update(stats: EngineStats, timeMs: number): Moment | undefined {
    const { stats: before, timeMs: beforeMs } = this.#before ?? {};
    // With the first moment a reader has the state of now, and rates from the second on.
    if (beforeMs !== undefined && timeMs - beforeMs < MOMENT_MS) return undefined;
    this.#before = { stats, timeMs };
    if (before === undefined || beforeMs === undefined) return undefined;
    const moment = momentOf({ stats, before, seconds: (timeMs - beforeMs) / 1000 }, {
      time_ms: timeMs,
      ...quantiles("ttft", this.#latencies.first_token),
      ...quantiles("inter_token", this.#latencies.next_token),
    } as Latencies);
    this.#latencies = { first_token: [], next_token: [] };
    this.#moments.push(moment);
    if (this.#moments.length > MAX_MOMENTS) this.#moments.shift();
    return moment;
  }
}

type Latencies = Pick<
  Moment,
  | "time_ms"
  | "ttft_p50_ms"
  | "ttft_p95_ms"
  | "inter_token_p50_ms"
  | "inter_token_p95_ms"
>;

function momentOf(
  { stats, before, seconds }: {
    readonly stats: EngineStats;
    readonly before: EngineStats;
    readonly seconds: number;
  },
  latencies: Latencies,
): Moment {
  const perSecond = (name: keyof EngineStats) =>
    Math.round(10 * Math.max(0, stats[name] - before[name]) / seconds) / 10;
  const numQueried = stats.numQueriedTokens - before.numQueriedTokens;
  const numHit = stats.numHitTokens - before.numHitTokens;
  const share = (count: number) => stats.numBlocks === 0 ? 0 : count / stats.numBlocks;
  return {
    ...latencies,
    generated_per_s: perSecond("numGeneratedTokens"),
    prompt_per_s: perSecond("numComputedPromptTokens"),
    cached_per_s: perSecond("numHitTokens"),
    running: stats.numRunning,
    waiting: stats.numWaiting,
    hit_rate: numQueried > 0 ? numHit / numQueried : null,
    in_use: share(stats.numBlocks - stats.numFreeBlocks - stats.numCachedBlocks),
    cached: share(stats.numCachedBlocks),
  };
}

/** The median and the 95th percentile by nearest rank; null for no values. */
function quantiles(name: string, values: readonly number[]): Record<string, number | null> {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => {
    const value = sorted[Math.ceil(share * sorted.length) - 1];
    return value === undefined ? null : Math.round(10 * value) / 10;
  };
  return { [`${name}_p50_ms`]: at(0.5), [`${name}_p95_ms`]: at(0.95) };
}
