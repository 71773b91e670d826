/**
 * `deno task sim`: serves loads in simulated time with the server's own scheduler and KV cache, and
 * compares how memory is divided, whose turn it is and what is evicted (`docs/simulator.md`).
 *
 * Usage: `deno task sim [allocators|scheduling|preemption|eviction ...] [--quick] [--scale SHARE]
 * [--seed N] [--costs NAME|FILE] [--ttft-ms N] [--tpot-ms N] [--traces FOLDER] [--svg FOLDER]`, or
 * `deno task sim --calibrate [--device auto|webgpu|cpu] [--shape NAME]`, whose last line is a file
 * for `--costs`. The last line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { parseArgs } from "node:util";
import type { DeviceChoice } from "../../src/core/engine_config.ts";
import { barChart, type Panel } from "./bar_chart.ts";
import { calibrate } from "./calibrate.ts";
import { type Comparison, comparisons } from "./comparisons.ts";
import { KNOWN_COSTS, parseCosts, type StepCosts } from "./costs.ts";
import { numRequestsOf } from "./load.ts";
import { simulate } from "./simulate.ts";
import { type LatencyLimits, summarize, type Summary } from "./summary.ts";

/** The share of the usual loads that `--quick` takes. */
const QUICK_SCALE = 0.03;
const DEFAULT_WORKLOAD_TRACES = new URL("../../../shared/data/traces/", import.meta.url);

/** One server's part in a race. */
interface Row extends Summary {
  readonly comparison: string;
  readonly load: string;
  readonly variant: string;
}

function options() {
  return parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: "boolean", default: false },
      scale: { type: "string", default: "1" },
      seed: { type: "string", default: "1" },
      costs: { type: "string", default: Object.keys(KNOWN_COSTS)[0]! },
      "ttft-ms": { type: "string", default: "2000" },
      "tpot-ms": { type: "string", default: "100" },
      traces: { type: "string" },
      svg: { type: "string" },
      calibrate: { type: "boolean", default: false },
      device: { type: "string", default: "auto" },
      shape: { type: "string", default: "smollm2-135m" },
    },
  });
}

/** A positive number from the command line. @throws {RangeError} naming the flag and the value. */
function positive(flag: string, text: string): number {
  const value = Number(text);
  if (value > 0 && Number.isFinite(value)) return value;
  throw new RangeError(`--${flag} is ${JSON.stringify(text)}: must be a number above 0`);
}

function costsOf(name: string): StepCosts {
  const known = (KNOWN_COSTS as Readonly<Record<string, StepCosts>>)[name];
  return known ?? parseCosts(Deno.readTextFileSync(name), name);
}

/** The text of a workload trace; says so where there is none. */
function workloadTraceReader(folder: URL): (file: string) => string | undefined {
  return (file) => {
    try {
      return Deno.readTextFileSync(new URL(file, folder));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      console.log(`${file} is not in ${folder.pathname}: left out`);
      return undefined;
    }
  };
}

function runComparison(
  { name, title, races }: Comparison,
  costs: StepCosts,
  limits: LatencyLimits,
): Row[] {
  console.log(`\n${title}`);
  return races.flatMap((race) => {
    const load = race.load();
    const sizes = race.sizes(load);
    const label = `${load.name}, ${Math.round(sizes.poolTokens / 1024)}k tokens of KV`;
    console.log(
      `\n  ${label}: ${numRequestsOf(load)} requests, at most ${sizes.maxModelLen} tokens`,
    );
    console.log(HEADER);
    return race.variants(sizes).map(({ name: variant, make }) => {
      const summary = summarize(simulate(load, make, costs), limits);
      console.log(tableLine(variant, summary));
      const owners = ownerLine(summary);
      if (owners !== "") console.log(`    TTFT p50 and p90: ${owners}`);
      return { comparison: name, load: label, variant, ...summary };
    });
  });
}

const COLUMNS: readonly [title: string, cell: (summary: Summary) => string][] = [
  ["refused", ({ numRefused }) => String(numRefused)],
  ["tok/s", ({ outputTokensPerSecond }) => outputTokensPerSecond.toFixed(0)],
  ["TTFT p50", ({ ttft }) => seconds(ttft.p50)],
  ["p90", ({ ttft }) => seconds(ttft.p90)],
  ["p99", ({ ttft }) => seconds(ttft.p99)],
  ["ITL p50", ({ interToken }) => seconds(interToken.p50)],
  ["p99", ({ interToken }) => seconds(interToken.p99)],
  ["E2E p50", ({ endToEnd }) => seconds(endToEnd.p50)],
  ["p99", ({ endToEnd }) => seconds(endToEnd.p99)],
  ["good/s", ({ goodput }) => goodput.toFixed(3)],
  ["share", ({ goodShare }) => percent(goodShare)],
  ["batch", ({ meanBatch }) => meanBatch.toFixed(1)],
  ["preempted", ({ numPreemptions }) => String(numPreemptions)],
  ["hits", ({ hitRate }) => percent(hitRate)],
  ["waste", ({ waste }) => percent(waste)],
  ["computed", ({ computedShare }) => computedShare.toFixed(2)],
];
const HEADER = `  ${"".padEnd(16)}${COLUMNS.map(([title]) => title.padStart(10)).join("")}`;

function tableLine(name: string, summary: Summary): string {
  return `  ${name.padEnd(16)}${COLUMNS.map(([, cell]) => cell(summary).padStart(10)).join("")}`;
}

/** Whose requests waited how long, under a line of the table. */
function ownerLine({ ttftByOwner = {} }: Summary): string {
  return Object.entries(ttftByOwner)
    .map(([owner, { p50, p90 }]) => `${owner} ${seconds(p50)} and ${seconds(p90)}`).join(", ");
}

function seconds(ms: number): string {
  return `${(ms / 1000).toPrecision(3)}s`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}

/** The measures that pictures show. */
const PICTURED: readonly [title: string, value: (row: Row) => number, format: Panel["format"]][] = [
  ["requests within both limits", ({ goodShare }) => goodShare, percent],
  ["output tokens per second", (row) => row.outputTokensPerSecond, (value) => value.toFixed(0)],
  ["first token, 90th percentile", ({ ttft }) => ttft.p90, seconds],
  ["prompt tokens found cached", ({ hitRate }) => hitRate, percent],
  ["held memory without keys and values", ({ waste }) => waste, percent],
];

function draw({ title }: Comparison, rows: readonly Row[]): string {
  const loads = [...new Set(rows.map(({ load }) => load))];
  return barChart(
    title,
    PICTURED.map(([title, value, format]) => ({
      title,
      format,
      groups: loads.map((load) => ({
        title: load,
        bars: rows.filter((row) => row.load === load)
          .map((row) => ({ label: row.variant, value: value(row) })),
      })),
    })),
  );
}

async function main(): Promise<void> {
  const { values, positionals } = options();
  if (values.calibrate) {
    const { device, shape, quick } = values;
    const repeats = quick ? 1 : 9;
    const { costs } = await calibrate({ device: device as DeviceChoice, shape, repeats });
    return console.log(JSON.stringify(costs));
  }
  const folder = values.traces === undefined
    ? DEFAULT_WORKLOAD_TRACES
    : new URL(values.traces.replace(/\/?$/, "/"), `file://${Deno.cwd()}/`);
  const all = comparisons({
    readWorkloadTrace: workloadTraceReader(folder),
    scale: values.quick ? QUICK_SCALE : positive("scale", values.scale),
    seed: positive("seed", values.seed),
  });
  const unknown = positionals.find((name) => all.every((comparison) => comparison.name !== name));
  if (unknown !== undefined) {
    throw new RangeError(`no comparison "${unknown}": ${all.map(({ name }) => name).join(", ")}`);
  }
  const costs = costsOf(values.costs);
  const limits = {
    ttftMs: positive("ttft-ms", values["ttft-ms"]),
    tpotMs: positive("tpot-ms", values["tpot-ms"]),
  };
  console.log(`Costs of ${costs.device}, ${costs.model}: ${costs.source}`);
  const rows = all
    .filter(({ name }) => positionals.length === 0 || positionals.includes(name))
    .flatMap((comparison) => {
      const rows = runComparison(comparison, costs, limits);
      if (values.svg !== undefined) {
        Deno.writeTextFileSync(`${values.svg}/sim-${comparison.name}.svg`, draw(comparison, rows));
      }
      return rows;
    });
  console.log(JSON.stringify({ bench: "sim", costs, limits, rows }));
}

if (import.meta.main) await main();
