import type { GoodputFigure } from "../core/bench_config.ts";
import type { LoadResult, RequestResult } from "./load_runner.ts";

/** The distribution of one figure, in its unit. */
export interface Distribution {
  readonly mean: number;
  /** Of the whole population. */
  readonly std: number;
  readonly median: number;
  /** Values by percentile, in the order asked for. */
  readonly percentiles: readonly (readonly [percent: number, value: number])[];
}

/** Limits in ms that a good request keeps, by figure. */
export type Goals = ReadonlyMap<GoodputFigure, number>;

/** The figures of a load, by the formulas of `vllm bench serve` (docs/bench.md). */
export interface LoadFigures {
  readonly numCompleted: number;
  readonly numFailed: number;
  /** Reasons of failures with their counts, the commonest first. */
  readonly failures: readonly (readonly [reason: string, count: number])[];
  readonly seconds: number;
  readonly peakConcurrency: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Share of the prompt tokens found in the prefix cache; undefined where the server is silent. */
  readonly cachedShare: number | undefined;
  /** Per second. */
  readonly requestThroughput: number;
  readonly outputThroughput: number;
  readonly totalThroughput: number;
  /** Requests per second that kept every goal; undefined without goals. */
  readonly goodput: number | undefined;
  /** In ms. */
  readonly ttft: Distribution;
  readonly tpot: Distribution;
  readonly itl: Distribution;
  readonly e2el: Distribution;
  /** Mean time to the first token by turn, ms; of conversations alone. */
  readonly ttftByTurn: readonly number[];
}

/** Computes the figures of a load. */
export function loadFigures(
  { results, seconds, peakConcurrency }: LoadResult,
  { goals, percentiles }: { readonly goals: Goals; readonly percentiles: readonly number[] },
): LoadFigures {
  const completed = results.filter(({ error }) => error === undefined);
  const sum = (value: (result: RequestResult) => number) =>
    completed.reduce((total, result) => total + value(result), 0);
  const promptTokens = sum((result) => result.promptTokens);
  const outputTokens = sum((result) => result.outputTokens);
  const describe = (values: readonly number[]) => distribution(values, percentiles);
  const perSecond = (count: number) => seconds === 0 ? 0 : count / seconds;
  const tellsCached = completed.some(({ cachedTokens }) => cachedTokens !== undefined);
  const numGood = completed.filter((result) => isGood(result, goals)).length;
  return {
    numCompleted: completed.length,
    numFailed: results.length - completed.length,
    failures: countReasons(results),
    seconds,
    peakConcurrency,
    promptTokens,
    outputTokens,
    cachedShare: tellsCached && promptTokens > 0
      ? sum(({ cachedTokens = 0 }) => cachedTokens) / promptTokens
      : undefined,
    requestThroughput: perSecond(completed.length),
    outputThroughput: perSecond(outputTokens),
    totalThroughput: perSecond(promptTokens + outputTokens),
    goodput: goals.size === 0 ? undefined : perSecond(numGood),
    ttft: describe(completed.map(({ ttft }) => ttft)),
    tpot: describe(
      completed.filter(({ outputTokens }) => outputTokens > 1).map(timePerOutputToken),
    ),
    itl: describe(completed.flatMap(({ itls }) => itls)),
    e2el: describe(completed.map(({ latency }) => latency)),
    ttftByTurn: ttftByTurn(completed),
  };
}

/** Mean time of the tokens behind the first, ms; 0 for an answer of one. */
function timePerOutputToken({ latency, ttft, outputTokens }: RequestResult): number {
  return outputTokens > 1 ? (latency - ttft) / (outputTokens - 1) : 0;
}

function isGood(result: RequestResult, goals: Goals): boolean {
  const figures = {
    ttft: result.ttft,
    tpot: timePerOutputToken(result),
    e2el: result.latency,
  };
  return [...goals].every(([figure, limit]) => figures[figure] <= limit);
}

function countReasons(results: readonly RequestResult[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const { error } of results) {
    if (error !== undefined) counts.set(error, (counts.get(error) ?? 0) + 1);
  }
  return [...counts].sort(([, a], [, b]) => b - a);
}

function ttftByTurn(results: readonly RequestResult[]): number[] {
  const turns = Math.max(0, ...results.map(({ turn }) => turn + 1));
  if (turns < 2) return [];
  return Array.from({ length: turns }, (_, i) => {
    const ofTurn = results.filter(({ turn }) => turn === i);
    return ofTurn.reduce((total, { ttft }) => total + ttft, 0) / Math.max(1, ofTurn.length);
  });
}

/** Mean, deviation of the population, and percentiles; zeros where there is no value. */
export function distribution(
  values: readonly number[],
  percentiles: readonly number[],
): Distribution {
  const sorted = [...values].sort((a, b) => a - b);
  const count = Math.max(1, sorted.length);
  const mean = sorted.reduce((sum, value) => sum + value, 0) / count;
  const variance = sorted.reduce((sum, value) => sum + (value - mean) ** 2, 0) / count;
  return {
    mean,
    std: Math.sqrt(variance),
    median: percentile(sorted, 50),
    percentiles: percentiles.map((percent) => [percent, percentile(sorted, percent)]),
  };
}

/** Between the two nearest ranks, linearly, as numpy's default does. */
function percentile(sorted: readonly number[], percent: number): number {
  if (sorted.length === 0) return 0;
  const rank = percent / 100 * (sorted.length - 1);
  const below = sorted[Math.floor(rank)]!;
  return below + (sorted[Math.ceil(rank)]! - below) * (rank - Math.floor(rank));
}
