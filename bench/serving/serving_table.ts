import { table } from "../../src/plan/plan_text.ts";
import type { Distribution } from "../../src/client/load_figures.ts";
import { median } from "../median.ts";
import type { ServedLoad } from "./measured_server.ts";
import type { ServingMode } from "./serving_modes.ts";

/** A load as served by one mode in one round. */
export interface ServedRound extends ServedLoad {
  /** Tokens generated per step; absent where the server counts no steps. */
  readonly batch?: number;
  readonly numPreemptions?: number;
}

/** What one mode has reached: medians over rounds, times in ms. */
export interface ServingRow {
  readonly load: string;
  readonly mode: string;
  readonly requestsPerSecond: number;
  readonly tokensPerSecond: number;
  /** Its throughput over that of the base in the same round. */
  readonly ratio: number;
  /** Tokens per second of processor time, and that over the base's. */
  readonly tokensPerProcessorSecond: number;
  readonly processorRatio: number;
  readonly batch?: number;
  readonly numPreemptions?: number;
  readonly cachedShare: number;
  readonly ttft: Percentiles;
  readonly interToken: Percentiles;
  readonly endToEnd: Percentiles;
}

interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

/** The rows of a load, in the order of `modes`, of which the first is the base. */
export function servingRows(
  load: string,
  modes: readonly ServingMode[],
  roundsOf: ReadonlyMap<ServingMode, readonly ServedRound[]>,
): ServingRow[] {
  const base = roundsOf.get(modes[0]!)!;
  return modes.map((mode) => {
    const rounds = roundsOf.get(mode)!;
    const of = (value: (round: ServedRound, i: number) => number) => median(rounds.map(value));
    const spread = (value: (round: ServedRound) => Distribution): Percentiles => ({
      p50: of((round) => value(round).percentiles[0]![1]),
      p99: of((round) => value(round).percentiles[1]![1]),
    });
    return {
      load,
      mode: mode.name,
      requestsPerSecond: of(({ figures }) => figures.requestThroughput),
      tokensPerSecond: of(({ figures }) => figures.outputThroughput),
      ratio: of(({ figures }, i) => figures.outputThroughput / base[i]!.figures.outputThroughput),
      tokensPerProcessorSecond: of(perProcessorSecond),
      processorRatio: of((round, i) => perProcessorSecond(round) / perProcessorSecond(base[i]!)),
      ...(rounds[0]!.batch === undefined ? {} : {
        batch: of(({ batch }) => batch!),
        numPreemptions: of(({ numPreemptions }) => numPreemptions!),
      }),
      cachedShare: of(({ figures }) => figures.cachedShare ?? 0),
      ttft: spread(({ figures }) => figures.ttft),
      interToken: spread(({ figures }) => figures.itl),
      endToEnd: spread(({ figures }) => figures.e2el),
    };
  });
}

function perProcessorSecond({ figures, processorSeconds }: ServedRound): number {
  return figures.outputTokens / processorSeconds;
}

/** The rows for people. */
export function servingTable(rows: readonly ServingRow[]): string {
  const heads = [
    "mode",
    "req/s",
    "tok/s",
    "ratio",
    "tok/cpu-s",
    "ratio",
    "batch",
    "preempted",
  ]
    .concat("cached", "TTFT p50", "p99", "ITL p50", "p99", "E2E p50", "p99");
  const ms = ({ p50, p99 }: Percentiles) => [p50, p99].map((value) => `${value.toFixed(0)} ms`);
  return table([
    heads,
    ...rows.map((row) => [
      row.mode,
      row.requestsPerSecond.toFixed(2),
      row.tokensPerSecond.toFixed(0),
      `${row.ratio.toFixed(2)}x`,
      row.tokensPerProcessorSecond.toFixed(0),
      `${row.processorRatio.toFixed(2)}x`,
      row.batch?.toFixed(1) ?? "-",
      String(row.numPreemptions ?? "-"),
      `${(100 * row.cachedShare).toFixed(1)} %`,
      ...ms(row.ttft),
      ...ms(row.interToken),
      ...ms(row.endToEnd),
    ]),
  ]);
}
