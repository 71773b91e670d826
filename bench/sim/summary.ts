import type { RequestTimes, Simulated } from "./simulate.ts";

/** What a served request may take, milliseconds. */
export interface LatencyLimits {
  /** To its first token. */
  readonly ttftMs: number;
  /** From token to token, on the request's average. */
  readonly tpotMs: number;
}

/** Percentiles, milliseconds. */
export interface Percentiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** What is reported of a simulation. */
export interface Summary {
  readonly numFinished: number;
  /** Refused at arrival, or failed: no memory would have been enough. */
  readonly numRefused: number;
  /** From the first arrival to the last end, seconds. */
  readonly seconds: number;
  readonly outputTokensPerSecond: number;
  readonly ttft: Percentiles;
  readonly interToken: Percentiles;
  readonly endToEnd: Percentiles;
  /** Requests within both limits, per second, and their share of all. */
  readonly goodput: number;
  readonly goodShare: number;
  /** Time to first token by owner, where requests have any. */
  readonly ttftByOwner?: Readonly<Record<string, Percentiles>>;
  /** Sequences per step on average. */
  readonly meanBatch: number;
  readonly numPreemptions: number;
  /** Of the prompt tokens looked up, the share found computed; 0 where none are looked up. */
  readonly hitRate: number;
  /** Of the memory held, the share without keys and values, over time. */
  readonly waste: number;
  /** Positions computed per position of what finished; below 1 where prompts were cached. */
  readonly computedShare: number;
}

/** The summary of a simulation. Empty ones are all zeros. */
export function summarize(
  { requests, gapsMs, steps, totals }: Simulated,
  limits: LatencyLimits,
): Summary {
  const finished = requests.filter(({ outcome }) => outcome === "finished");
  const first = requests.reduce((least, { arrivedMs }) => Math.min(least, arrivedMs), Infinity);
  const last = requests.reduce((most, { endMs }) => Math.max(most, endMs), 0);
  const seconds = Math.max(0, last - first) / 1000;
  const numOutput = sum(finished, ({ numTokens }) => numTokens);
  const numNeeded = sum(finished, ({ turn, numTokens }) => turn.promptLen + numTokens - 1);
  const numGood = finished.filter((request) => isWithin(request, limits)).length;
  return {
    numFinished: finished.length,
    numRefused: requests.length - finished.length,
    seconds,
    outputTokensPerSecond: ratio(numOutput, seconds),
    ttft: percentiles(finished.map(ttftOf)),
    ...byOwner(finished),
    interToken: percentiles(gapsMs),
    endToEnd: percentiles(finished.map(({ endMs, arrivedMs }) => endMs - arrivedMs)),
    goodput: ratio(numGood, seconds),
    goodShare: ratio(numGood, requests.length),
    meanBatch: ratio(steps.numSequences, steps.numSteps),
    numPreemptions: totals.numPreemptions,
    hitRate: ratio(totals.numHit, totals.numQueried),
    waste: ratio(steps.emptyMs, steps.heldMs),
    computedShare: ratio(steps.numTokens, numNeeded),
  };
}

function ttftOf({ firstTokenMs, arrivedMs }: RequestTimes): number {
  return firstTokenMs - arrivedMs;
}

function byOwner(finished: readonly RequestTimes[]): Pick<Summary, "ttftByOwner"> {
  const times: Record<string, number[]> = {};
  for (const request of finished) {
    const { owner } = request.session;
    if (owner !== undefined) (times[owner] ??= []).push(ttftOf(request));
  }
  const owners = Object.entries(times).map(([owner, ms]) => [owner, percentiles(ms)] as const);
  return owners.length === 0 ? {} : { ttftByOwner: Object.fromEntries(owners) };
}

function isWithin(
  { arrivedMs, firstTokenMs, endMs, numTokens }: RequestTimes,
  { ttftMs, tpotMs }: LatencyLimits,
): boolean {
  const perToken = ratio(endMs - firstTokenMs, numTokens - 1);
  return firstTokenMs - arrivedMs <= ttftMs && perToken <= tpotMs;
}

/** The nearest-rank percentiles of some values; zeros for none. */
export function percentiles(values: readonly number[]): Percentiles {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number) => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? 0;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}

function sum<T>(items: readonly T[], valueOf: (item: T) => number): number {
  return items.reduce((total, item) => total + valueOf(item), 0);
}

function ratio(value: number, by: number): number {
  return by === 0 ? 0 : value / by;
}
