/**
 * Puts a result of `bench:model`, or of `bench:gpu-host`, into bench/README.md as a table:
 * `deno run -A bench/readme_table.ts FILE`. Replaces what stands between the two markers there.
 */
import { type Ceiling, productGflops } from "./ceiling.ts";
import type { SkippedStep, StepResult } from "./model_shapes.ts";

const BEGIN = "<!-- bench:model -->";
const END = "<!-- /bench:model -->";

/** What `bench:model` prints last. */
export interface ModelResult {
  readonly bench: "model";
  readonly commit: string;
  readonly device: string;
  readonly ceiling?: Ceiling;
  readonly shapes: readonly {
    readonly name: string;
    readonly note?: string;
    /** Present instead of results where the whole shape was skipped. */
    readonly skipped?: string;
    readonly results?: readonly (StepResult | SkippedStep)[];
  }[];
}

/**
 * The result of `bench:model` in a result file's content.
 *
 * @throws {TypeError} when there is none.
 */
export function findModelResult(content: unknown): ModelResult {
  const whole = content as { bench?: string; parts?: { result?: { bench?: string } }[] };
  const found = [whole, ...whole.parts?.map(({ result }) => result) ?? []]
    .find((result) => result?.bench === "model" && "shapes" in result);
  if (found !== undefined) return found as unknown as ModelResult;
  throw new TypeError("Cannot find a result of bench:model in this file");
}

/** One row per measured step, with device, ceiling and commit; what was skipped has none. */
export function modelTable({ device, commit, ceiling, shapes }: ModelResult): string {
  const bounds = ceiling === undefined
    ? ""
    : ` The device copied ${round(ceiling.copyGBps)} GB/s and
multiplied matrices at ${round(productGflops(ceiling))} GFLOP/s in that run.`.replace("\n", " ");
  const rows = shapes.flatMap(({ name, results = [] }) =>
    results.flatMap((result) => "skipped" in result ? [] : [[name, ...cells(result)]])
  );
  const head = [
    "model",
    "step",
    "batch",
    "context",
    "tokens/s",
    "of ceiling",
    "ms/step",
    "host work",
  ];
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i]!.length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`;
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [
    `Random weights, f16, on ${device}, commit ${commit}.${bounds}`,
    "",
    line(head),
    rule,
    ...rows.map(line),
  ].join("\n");
}

function cells(result: StepResult): string[] {
  const { kind, batch, context, tokensPerSecond, ofCeiling, stepMs, hostMs } = result;
  return [
    kind,
    String(batch),
    context.toLocaleString("en-US"),
    round(tokensPerSecond),
    ofCeiling === undefined ? "-" : `${(100 * ofCeiling).toFixed(0)} %`,
    stepMs < 100 ? stepMs.toPrecision(3) : round(stepMs),
    `${(100 * hostMs / stepMs).toFixed(1)} %`,
  ];
}

function round(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: value < 100 ? 1 : 0 });
}

/**
 * `text` with `table` between the markers.
 *
 * @throws {RangeError} when the markers are not there once each, in order.
 */
export function replaceTable(text: string, table: string): string {
  const [before, rest, ...more] = text.split(BEGIN);
  const [old, after, ...others] = (rest ?? "").split(END);
  if (old === undefined || after === undefined || more.length > 0 || others.length > 0) {
    throw new RangeError(`Cannot find ${BEGIN} and ${END} once each, in this order`);
  }
  return `${before}${BEGIN}\n\n${table}\n\n${END}${after}`;
}

if (import.meta.main) {
  const readme = new URL("README.md", import.meta.url);
  const content = JSON.parse(Deno.readTextFileSync(Deno.args[0]!));
  const table = modelTable(findModelResult(content));
  Deno.writeTextFileSync(readme, replaceTable(Deno.readTextFileSync(readme), table));
  // Lines are wrapped as everywhere.
  await new Deno.Command(Deno.execPath(), { args: ["fmt", "-q", readme.pathname] }).output();
}
