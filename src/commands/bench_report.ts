import { withThousands as count } from "../base/thousands.ts";
import type { Distribution, LoadFigures } from "../client/load_figures.ts";

/** Failures that are shown with their reasons. */
const MAX_REASONS = 5;

/** What was measured, for the head of a report. */
export interface BenchHead {
  readonly server: string;
  readonly model: string;
  readonly load: string;
  /** The server counted the prompts' tokens; otherwise their lengths are a guess. */
  readonly isMeasured: boolean;
}

/** A report for people. */
export function benchText(figures: LoadFigures, head: BenchHead): string {
  const { numCompleted, numFailed, seconds, cachedShare, goodput, ttftByTurn } = figures;
  const rows: [string, string][] = [
    ["Server", `${head.server}, ${head.model}`],
    ["Load", head.load],
    ["Successful requests", count(numCompleted)],
    ...(numFailed === 0 ? [] : [["Failed requests", count(numFailed)] as [string, string]]),
    ["Benchmark duration (s)", seconds.toFixed(2)],
    ["Most requests at once", count(figures.peakConcurrency)],
    ["Input tokens", `${count(figures.promptTokens)}${head.isMeasured ? "" : " (not counted)"}`],
    ["Generated tokens", count(figures.outputTokens)],
    ["Prompt tokens cached", cachedShare === undefined ? "not told" : percent(cachedShare)],
    ["Request throughput (req/s)", figures.requestThroughput.toFixed(2)],
    ...(goodput === undefined
      ? []
      : [["Request goodput (req/s)", goodput.toFixed(2)] as [string, string]]),
    ["Output throughput (tok/s)", figures.outputThroughput.toFixed(2)],
    ["Total throughput (tok/s)", figures.totalThroughput.toFixed(2)],
  ];
  return [
    ...rows.map(([name, text]) => `${name.padEnd(28)}${text}`),
    "",
    ...distributionTable(figures),
    ...(ttftByTurn.length === 0 ? [] : ["", turnLine(ttftByTurn)]),
    ...failureLines(figures),
  ].join("\n");
}

function distributionTable({ ttft, tpot, itl, e2el }: LoadFigures): string[] {
  const rows: [string, Distribution][] = [
    ["Time to first token", ttft],
    ["Time per output token", tpot],
    ["Inter-token latency", itl],
    ["End to end", e2el],
  ];
  const heads = ttft.percentiles.map(([percent]) => `P${percent}`);
  const line = (name: string, cells: readonly string[]) =>
    name.padEnd(28) + cells.map((cell) => cell.padStart(10)).join("");
  return [
    line("ms", ["mean", "std", ...heads]),
    ...rows.map(([name, { mean, std, percentiles }]) => {
      const values = [mean, std, ...percentiles.map(([, value]) => value)];
      return line(name, values.map((value) => value.toFixed(2)));
    }),
  ];
}

function turnLine(ttftByTurn: readonly number[]): string {
  const turns = ttftByTurn.map((ms, i) => `${i + 1}: ${ms.toFixed(1)}`);
  return `Mean time to first token by turn (ms)  ${turns.join("  ")}`;
}

function failureLines({ failures }: LoadFigures): string[] {
  if (failures.length === 0) return [];
  const shown = failures.slice(0, MAX_REASONS).map(([reason, times]) => `  ${times} x ${reason}`);
  return ["", "Failures:", ...shown];
}

/** The same for programs, in `vllm bench serve`'s names where it has one. Times in ms. */
export function benchJson(figures: LoadFigures, head: BenchHead): Record<string, unknown> {
  return {
    server: head.server,
    model_id: head.model,
    load: head.load,
    completed: figures.numCompleted,
    failed: figures.numFailed,
    duration: figures.seconds,
    max_concurrent_requests: figures.peakConcurrency,
    total_input_tokens: figures.promptTokens,
    total_output_tokens: figures.outputTokens,
    cached_share: figures.cachedShare ?? null,
    request_throughput: figures.requestThroughput,
    request_goodput: figures.goodput ?? null,
    output_throughput: figures.outputThroughput,
    total_token_throughput: figures.totalThroughput,
    ...distributionJson("ttft", figures.ttft),
    ...distributionJson("tpot", figures.tpot),
    ...distributionJson("itl", figures.itl),
    ...distributionJson("e2el", figures.e2el),
    ttft_by_turn_ms: figures.ttftByTurn,
    failures: Object.fromEntries(figures.failures),
  };
}

function distributionJson(name: string, { mean, std, median, percentiles }: Distribution) {
  return {
    [`mean_${name}_ms`]: mean,
    [`median_${name}_ms`]: median,
    [`std_${name}_ms`]: std,
    ...Object.fromEntries(percentiles.map(([percent, ms]) => [`p${percent}_${name}_ms`, ms])),
  };
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
