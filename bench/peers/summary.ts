import { median } from "../median.ts";

/** Tokens per second of one peer's runs of one workload, in order of the rounds. */
export type Rates = readonly number[];

/** Rates by workload, then by peer. */
export type RateTable = Readonly<Record<string, Readonly<Record<string, Rates>>>>;

/** By workload, the median of the ratios of runs side by side: a busy machine slows both. */
export function ratios(table: RateTable, peer: string, baseline: string): Record<string, number> {
  return Object.fromEntries(
    Object.entries(table).map(([workload, rates]) => {
      const base = rates[baseline] ?? [];
      const pairs = (rates[peer] ?? []).slice(0, base.length).map((rate, i) => rate / base[i]!);
      return [workload, median(pairs)];
    }),
  );
}

/** Median and best rate of every peer, one line per workload, and each ratio to `baseline`. */
export function formatRates(
  unit: string,
  table: RateTable,
  peers: readonly string[],
  baseline: string,
): string {
  const head = [`median (best) ${unit}`, ...peers];
  const lines = Object.entries(table).map(([workload, rates]) => [
    workload,
    ...peers.map((peer) => {
      const own = rates[peer] ?? [];
      if (own.length === 0) return "-";
      const ratio = peer === baseline
        ? ""
        : ` ${ratios(table, peer, baseline)[workload]!.toFixed(3)}x`;
      return `${short(median(own))} (${short(Math.max(...own))})${ratio}`;
    }),
  ]);
  const widths = head.map((_, i) => Math.max(...[head, ...lines].map((line) => line[i]!.length)));
  return [head, ...lines]
    .map((line) => line.map((cell, i) => cell.padEnd(widths[i]!)).join("  ").trimEnd())
    .join("\n");
}

function short(rate: number): string {
  return rate >= 100 ? rate.toFixed(0) : rate.toPrecision(3);
}
