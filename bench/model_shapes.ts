/**
 * `deno task bench:model [--shape NAME] [--tune] [--quick] [--write]`: prefill and decode of whole models.
 *
 * Weights and KV are random and made on the device, so no file is needed and any context can be
 * measured at once. Each figure stands beside the ceiling measured in the same run: decode must read
 * all weights and KV once per step, prefill must do its multiplications and additions. Host time is
 * what the runner does while the device has nothing to do, `ahead` what it does while the device is
 * busy; the scheduler's is in `scheduler_bench.ts`. With `--tune` each shape runs in the variants that are
 * fastest here, timed first, as a server's does after its first start on a GPU. What does not fit, or
 * would take minutes, is printed as skipped with the numbers. The last line is JSON. Shapes: one or
 * several names of `shapes.ts` with commas between, or `all`. `--weights f16,int8g32,int4g32` measures
 * each shape with weights in each of these.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import type { Device } from "../src/device/device.ts";
import { openDevice } from "../src/runner/open_device.ts";
import { type Ceiling, measureCeiling, productGflops } from "./ceiling.ts";
import { ModelRig, type StepShape } from "./model_rig.ts";
import { findRoom, type OpenShape, openShape } from "./open_shape.ts";
import type { WeightDtype } from "../src/core/weight_format.ts";
import { type BenchOptions, benchOptions, keepResult } from "./results.ts";
import { stepTraffic, type Traffic, weightElements } from "./traffic.ts";
import { type TunedShape, tuneShape } from "./tune_shape.ts";

/** A measured step. */
export interface StepResult {
  readonly kind: "prefill" | "decode";
  readonly batch: number;
  readonly context: number;
  /** Tokens computed per second in the best step. */
  readonly tokensPerSecond: number;
  /** Of that step, all, what the device waited for the host, and host work while the device was busy, ms. */
  readonly stepMs: number;
  readonly hostMs: number;
  readonly aheadMs: number;
  /** The time the ceilings allow over the time it took; absent where there is no ceiling. */
  readonly ofCeiling?: number;
}

/** A step that was not measured. */
export interface SkippedStep {
  readonly kind: "prefill" | "decode";
  readonly batch: number;
  readonly context: number;
  readonly skipped: string;
}

/** Tokens of one prefill step, the default budget of a server. */
const PREFILL_TOKENS = 512;
/** Each step is measured for so long, and at least three times. */
const MEASURE_MS = 1000;
/** A step that the ceilings alone hold up longer than this is not worth the wait, seconds. */
const LONGEST_STEP = 5;

const FULL = { batches: [1, 8, 32, 128], contexts: [128, 2048, 16_384] };
const QUICK = { batches: [1, 8], contexts: [128] };

function steps(isQuick: boolean): StepShape[] {
  const { batches, contexts } = isQuick ? QUICK : FULL;
  const decodes = contexts.flatMap((context) =>
    batches.map((batch) => ({ batch, count: 1, context }))
  );
  const count = isQuick ? 64 : PREFILL_TOKENS;
  const prefills = contexts.map((context) => Math.max(context, count))
    .map((context) => ({ batch: 1, count, context }));
  return [...prefills, ...decodes];
}

/** Least time for a step, seconds: decode is bound by what it reads, prefill by what it computes. */
export function leastSeconds(traffic: Traffic, ceiling: Ceiling): number {
  const computing = traffic.flops / (productGflops(ceiling) * 1e9);
  return Math.max(traffic.bytes / (ceiling.copyGBps * 1e9), computing);
}

async function measure(
  device: Device,
  shape: OpenShape,
  step: StepShape,
  { ceiling, tuned }: { ceiling: Ceiling | undefined; tuned: TunedShape | undefined },
): Promise<StepResult | SkippedStep> {
  const { batch, count, context } = step;
  const head = { kind: count > 1 ? "prefill" : "decode", batch, context } as const;
  const room = findRoom(device, shape, step);
  if (room !== undefined) return { ...head, skipped: room };
  const { model, weights } = shape;
  const traffic = stepTraffic(model, weights, weightElements(model, weights), step);
  const least = ceiling && leastSeconds(traffic, ceiling);
  if (least !== undefined && least > LONGEST_STEP) {
    return { ...head, skipped: `a step takes ${least.toFixed(1)} s at the ceiling` };
  }
  let rig: ModelRig;
  try {
    rig = await ModelRig.create(device, shape, step, {}, tuned);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { ...head, skipped: error.message };
  }
  let best = { stepMs: Infinity, hostMs: 0, aheadMs: 0 };
  const began = performance.now();
  for (let i = 0; i < 3 || performance.now() - began < MEASURE_MS; i++) {
    const next = await rig.run();
    if (next.stepMs < best.stepMs) best = next;
  }
  rig.close();
  const tokensPerSecond = batch * count / best.stepMs * 1000;
  const ofCeiling = least === undefined ? {} : { ofCeiling: 1000 * least / best.stepMs };
  return { ...head, tokensPerSecond, ...best, ...ofCeiling };
}

function print(...lines: readonly string[]): void {
  for (const line of lines) console.log(line);
}

function stepLine(result: StepResult | SkippedStep): string {
  const name = `${result.kind.padEnd(9)}${String(result.batch).padStart(5)}` +
    `${String(result.context).padStart(9)}`;
  if ("skipped" in result) {
    return `${name}  skipped: ${result.skipped}`;
  }
  const { tokensPerSecond, ofCeiling, stepMs, hostMs, aheadMs } = result;
  const share = ofCeiling === undefined ? "-" : `${(100 * ofCeiling).toFixed(0)} %`;
  return `${name}${tokensPerSecond.toFixed(1).padStart(12)}${share.padStart(12)}` +
    `${stepMs.toFixed(2).padStart(11)}${(1000 * hostMs).toFixed(0).padStart(10)}` +
    `${(100 * hostMs / stepMs).toFixed(1).padStart(9)} %${
      (1000 * aheadMs).toFixed(0).padStart(11)
    }`;
}

async function measureShape(
  device: Device,
  { shapeName, dtype }: { shapeName: string; dtype: WeightDtype },
  { quick, tune }: BenchOptions,
  ceiling: Ceiling | undefined,
): Promise<unknown> {
  const shape = await openShape(device, shapeName, dtype);
  const { note } = shape;
  const name = dtype === "f16" ? shapeName : `${shapeName} in ${dtype}`;
  console.log(`\n${name}${note === undefined ? "" : `, ${note}`}`);
  if ("skipped" in shape) {
    console.log(`skipped: ${shape.skipped}`);
    return { ...shape, name };
  }
  const tuned = tune ? await tuneShape(device, shape) : undefined;
  if (tuned !== undefined) print(...tunedLines(tuned));
  print(
    "step     batch  context    tokens/s  of ceiling    step ms   host us      share   ahead us",
  );
  const results: (StepResult | SkippedStep)[] = [];
  for (const step of steps(quick)) {
    const result = await measure(device, shape, step, { ceiling, tuned });
    print(stepLine(result));
    results.push(result);
  }
  shape.close();
  const variants = tuned === undefined ? {} : { tuned: tuned.chosen };
  return { name, note, ...shape.size, ...variants, results };
}

function tunedLines({ numTimed, chosen, seconds }: TunedShape): string[] {
  const others = Object.entries(chosen);
  return [
    `${numTimed} operations timed in ${
      seconds.toFixed(0)
    } s, ${others.length} run otherwise than usual`,
    ...others.map(([operation, variant]) => `  ${operation}: ${variant}`),
  ];
}

async function main(): Promise<void> {
  const options = benchOptions("smollm2-135m");
  const device = await openDevice(options.device, options.gpuBackend);
  const ceiling = await measureCeiling(device);
  console.log(`Device  ${device.description}`);
  if (ceiling !== undefined) {
    const { copyGBps, fmaGflops, gemmGflops } = ceiling;
    console.log(
      `Ceiling ${copyGBps.toFixed(1)} GB/s copy, ${gemmGflops.toFixed(1)} GFLOP/s matrix product ` +
        `(${fmaGflops.toFixed(1)} multiply-adds alone)`,
    );
  }
  const shapes: unknown[] = [];
  for (const shapeName of options.shapes) {
    for (const dtype of options.weights) {
      shapes.push(await measureShape(device, { shapeName, dtype }, options, ceiling));
    }
  }
  await keepResult({ bench: "model", device: device.description, ceiling, shapes }, options);
  Deno.exit(0);
}

if (import.meta.main) await main();
