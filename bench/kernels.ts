/**
 * `deno task bench:kernels [--shape NAME] [--gpu-backend dawn] [--quick] [--write]`: every kernel of a model's step beside
 * the device's ceilings.
 *
 * Takes the model's own graph of kernel calls, groups those of equal shape over all layers, and times
 * each group with many dispatches per submission. So whatever kernels the graph is made of are
 * measured, with the weights of all layers, not one layer's from a cache. Where a GPU tells its
 * own time, `in step` is what the same calls take in a whole step, by timestamps of passes of their own: it
 * is free of what a submission costs, and their sum is to be compared with the step. A software adapter's
 * timestamps are not used: they count calls as their neighbours'. Everything else is by the clock. Weights are made on the device. `GB/s` counts the weights and KV an operation must read, `GFLOP/s` what it must compute. The
 * last line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import type { StepDims } from "../kernels/step.ts";
import type { KernelCall } from "../src/device/kernel.ts";
import { openDevice } from "../src/runner/open_device.ts";
import { type Ceiling, measureCeiling } from "./ceiling.ts";
import { CAREFUL, ONCE, processorMs, timeCalls } from "./dispatch_timing.ts";
import type { TimingOptions } from "../src/runner/call_timing.ts";
import { ModelRig, type StepShape } from "./model_rig.ts";
import { findRoom, type OpenShape, openShape, type SkippedShape } from "./open_shape.ts";
import { benchOptions, keepResult } from "./results.ts";
import { callTraffic, weightElements } from "./traffic.ts";
import type { Device } from "../src/device/device.ts";

/** One group of equal calls in one step. */
export interface KernelRow {
  readonly label: string;
  readonly kernel: string;
  readonly numCalls: number;
  /** All of them, ms per step. */
  readonly ms: number;
  /** The same as processor time of all threads, on a software adapter. */
  readonly processorMs?: number;
  /** The same in a whole step by the device's timestamps, where it has any. */
  readonly inStepMs?: number;
  /** Absent for what reads neither weights nor KV. */
  readonly gbps?: number;
  readonly gflops?: number;
}

interface StepRows {
  readonly step: StepShape;
  /** The whole step as it runs, ms. */
  readonly stepMs: number;
  readonly rows: readonly KernelRow[];
}

const STEPS: readonly StepShape[] = [
  { batch: 1, count: 1, context: 128 },
  { batch: 8, count: 1, context: 128 },
  { batch: 32, count: 1, context: 128 },
  { batch: 1, count: 1, context: 2048 },
  { batch: 1, count: 1, context: 16_384 },
  { batch: 1, count: 512, context: 512 },
];
const QUICK_STEPS: readonly StepShape[] = [
  { batch: 8, count: 1, context: 128 },
  { batch: 1, count: 64, context: 64 },
];

const PROFILED_STEPS = 5;

/** Constants that say where a layer lies in the buffers of its KV, and nothing of what is done. */
const PLACES = new Set(["LAYER_OFFSET", "LAYER_OFFSET_LOADS"]);

/** Calls that differ in nothing but their buffers and places in them, by label and kernel. */
export function groupCalls(calls: readonly KernelCall<StepDims>[]): KernelCall<StepDims>[][] {
  const groups = Map.groupBy(calls, ({ label, kernelName, constants }) => {
    const shape = Object.entries(constants).filter(([name]) => !PLACES.has(name));
    return `${label} ${kernelName} ${JSON.stringify(shape)}`;
  });
  return [...groups.values()];
}

/** Milliseconds of each of a step's calls by the device's own clock, the best of some steps. */
async function timeInStep(
  device: Device,
  { calls, dims }: ModelRig,
): Promise<Map<KernelCall<StepDims>, number> | undefined> {
  if (device.profile === undefined || !hasOwnClock(device)) return undefined;
  const program = await device.compile(calls);
  const best = new Map(calls.map((call) => [call, Infinity]));
  for (let i = 0; i < PROFILED_STEPS; i++) {
    const nanos = await device.profile(program, dims);
    calls.forEach((call, at) => best.set(call, Math.min(best.get(call)!, nanos[at]! / 1e6)));
  }
  return best;
}

function hasOwnClock({ isSoftware, capabilities }: Device): boolean {
  return capabilities.hasTimestamps && !isSoftware;
}

function sumOf<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((sum, item) => sum + value(item), 0);
}

async function measureStep(
  device: Device,
  shape: OpenShape,
  step: StepShape,
  effort: TimingOptions,
): Promise<StepRows> {
  const rig = await ModelRig.create(device, shape, step);
  try {
    const elements = weightElements(shape.model, shape.weights);
    const inStep = await timeInStep(device, rig);
    const rows: KernelRow[] = [];
    for (const calls of groupCalls(rig.calls)) {
      const timed = rig.timed(calls);
      const seconds = await timeCalls(device, timed, effort);
      const known = { elements, step, dims: rig.dims };
      const traffic = callTraffic(calls[0]!, known);
      rows.push({
        label: calls[0]!.label,
        kernel: calls[0]!.kernelName,
        numCalls: calls.length,
        ms: 1000 * seconds,
        ...(device.isSoftware ? { processorMs: await processorMs(device, timed, effort) } : {}),
        ...(inStep === undefined ? {} : { inStepMs: sumOf(calls, (call) => inStep.get(call)!) }),
        ...(traffic === undefined ? {} : {
          gbps: calls.length * traffic.bytes / seconds / 1e9,
          gflops: calls.length * traffic.flops / seconds / 1e9,
        }),
      });
    }
    let stepMs = Infinity;
    for (let i = 0; i < effort.numRounds; i++) stepMs = Math.min(stepMs, (await rig.run()).stepMs);
    return { step, stepMs, rows };
  } finally {
    rig.close();
  }
}

function print({ step, stepMs, rows }: StepRows, ceiling: Ceiling | undefined): void {
  const total = sumOf(rows, ({ ms }) => ms);
  const inStep = rows.every(({ inStepMs }) => inStepMs !== undefined)
    ? `, in the step by timestamps ${sumOf(rows, ({ inStepMs }) => inStepMs!).toFixed(2)} ms`
    : "";
  const { batch, count, context } = step;
  console.log(
    `\n${count === 1 ? "decode" : `prefill of ${count}`}, batch ${batch}, context ${context}: ` +
      `step ${stepMs.toFixed(2)} ms, kernels one by one ${total.toFixed(2)} ms${inStep}`,
  );
  console.log(
    "  kernel                       calls        ms  share   in step  cpu ms           GB/s" +
      "        GFLOP/s",
  );
  const of = (value: number | undefined, limit: number | undefined) => {
    if (value === undefined) return "-".padStart(15);
    const share = limit === undefined ? "" : ` ${(100 * value / limit).toFixed(0).padStart(3)} %`;
    return `${value.toFixed(1)}${share}`.padStart(15);
  };
  for (const { label, kernel, numCalls, ms, inStepMs, processorMs: cpu, gbps, gflops } of rows) {
    const name = label === kernel ? label : `${label} (${kernel})`;
    console.log(
      `  ${name.padEnd(27)}${String(numCalls).padStart(7)}${ms.toFixed(3).padStart(10)}` +
        `${(100 * ms / total).toFixed(0).padStart(5)} %` +
        `${(inStepMs?.toFixed(3) ?? "-").padStart(10)}${(cpu?.toFixed(2) ?? "-").padStart(8)}` +
        `${of(gbps, ceiling?.copyGBps)}` +
        of(gflops, kernel === "gemm_subgroup_matrix" ? ceiling?.matrixGflops : ceiling?.gemmGflops),
    );
  }
}

async function main(): Promise<void> {
  const options = benchOptions("smollm2-135m");
  const device = await openDevice(options.device, options.gpuBackend);
  const effort = options.quick ? ONCE : CAREFUL;
  const ceiling = await measureCeiling(device, effort);
  console.log(`Device  ${device.description}`);
  if (ceiling !== undefined) console.log(`Ceiling ${JSON.stringify(ceiling)}`);
  console.log(
    `Timed   by the clock${hasOwnClock(device) ? "; in step by the device's timestamps" : ""}`,
  );
  const shapes: unknown[] = [];
  for (const name of options.shapes) {
    const shape = await openShape(device, name);
    console.log(`\n=== ${name}${shape.note === undefined ? "" : ` (${shape.note})`}`);
    if ("skipped" in shape) {
      console.log(`skipped: ${shape.skipped}`);
      shapes.push(shape);
      continue;
    }
    const steps: (StepRows | SkippedShape)[] = [];
    for (const step of options.quick ? QUICK_STEPS : STEPS) {
      const room = findRoom(device, shape, step);
      if (room !== undefined) {
        console.log(`\nskipped: ${room}`);
        continue;
      }
      const measured = await measureStep(device, shape, step, effort);
      print(measured, ceiling);
      steps.push(measured);
    }
    shape.close();
    shapes.push({ name, note: shape.note, steps });
  }
  await keepResult({ bench: "kernels", device: device.description, ceiling, shapes }, options);
  Deno.exit(0);
}

if (import.meta.main) await main();
