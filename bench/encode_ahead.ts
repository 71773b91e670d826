/**
 * `deno task bench:encode-ahead [--shape NAME] [--quick] [--write]`: what recording the next step's
 * commands while the device works is worth.
 *
 * Decode steps with and without it, on the same weights in alternating runs: the median step of each, the
 * ratio of the two, and the host work between steps. A software adapter is measured with the kernels tuned
 * for it and with those for GPUs. Its threads share the processor with the host, so what overlaps there
 * gains nothing; it must not lose either. The last line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import type { Device } from "../src/device/device.ts";
import { openDevice } from "../src/runner/open_device.ts";
import { actingAs, withProperties } from "../tests/support/acting_device.ts";
import { ModelRig, type StepShape, type StepTimes } from "./model_rig.ts";
import { type OpenShape, openShape } from "./open_shape.ts";
import { benchOptions, keepResult } from "./results.ts";

/** A decode step with and without its commands recorded ahead, medians. */
export interface AheadComparison extends StepShape {
  readonly numCalls: number;
  readonly plain: StepTimes;
  readonly ahead: StepTimes;
  /** How many times as long the step takes with it. */
  readonly ratio: number;
}

const FULL = { rounds: 12, runMs: 250 };
const QUICK = { rounds: 2, runMs: 0 };
const BATCHES = [1, 8, 32];

/** The same device, which is never told what comes next. */
export function withoutAhead(device: Device): Device {
  const run: Device["run"] = (program, dims, read, { onSubmitted } = {}) =>
    device.run(program, dims, read, { onSubmitted });
  return withProperties(device, { run });
}

/** Runs a step both ways in turn. */
export async function compareAhead(
  device: Device,
  shape: OpenShape,
  step: StepShape,
  { rounds, runMs }: { rounds: number; runMs: number },
): Promise<AheadComparison> {
  const rigs = [
    { rig: await ModelRig.create(withoutAhead(device), shape, step), times: [] as StepTimes[] },
    { rig: await ModelRig.create(device, shape, step), times: [] as StepTimes[] },
  ];
  for (let round = 0; round < rounds; round++) {
    // Each goes first in turn, so that a drift of the machine does not count for one of them.
    for (const { rig, times } of round % 2 === 0 ? rigs : rigs.toReversed()) {
      const began = performance.now();
      do times.push(await rig.run()); while (performance.now() - began < runMs);
    }
  }
  const numCalls = rigs[0]!.rig.calls.length;
  for (const { rig } of rigs) rig.close();
  const [plain, ahead] = rigs.map(({ times }) => medians(times));
  return { ...step, numCalls, plain: plain!, ahead: ahead!, ratio: ahead!.stepMs / plain!.stepMs };
}

function medians(times: readonly StepTimes[]): StepTimes {
  const median = (field: keyof StepTimes) =>
    times.map((time) => time[field]).sort((a, b) => a - b)[Math.floor(times.length / 2)]!;
  return { stepMs: median("stepMs"), hostMs: median("hostMs"), aheadMs: median("aheadMs") };
}

function row({ batch, numCalls, plain, ahead, ratio }: AheadComparison): string {
  const micros = (ms: number, width: number) => (1000 * ms).toFixed(0).padStart(width);
  return [
    String(batch).padStart(5),
    String(numCalls).padStart(7),
    micros(plain.stepMs, 10),
    micros(ahead.stepMs, 10),
    ratio.toFixed(3).padStart(8),
    micros(plain.hostMs, 11),
    micros(ahead.hostMs, 10),
    micros(ahead.aheadMs, 13),
  ].join("");
}

async function main(): Promise<void> {
  const options = benchOptions("tiny,smollm2-135m");
  const device = await openDevice(options.device);
  const variants: [kernels: string, device: Device][] = [["own", device]];
  if (device.isSoftware) variants.push(["GPU's", actingAs(device, { tier: "subgroups" })]);
  console.log(`Device  ${device.description}\n`);
  console.log("microseconds                       step                     host between steps");
  console.log(
    "shape         kernels batch  calls     plain     ahead   ratio      plain     ahead  overlapped",
  );
  const results = [];
  for (const name of options.shapes) {
    for (const [kernels, on] of variants) {
      const shape = await openShape(on, name);
      if ("skipped" in shape) {
        console.log(`${name.padEnd(14)}skipped: ${shape.skipped}`);
        continue;
      }
      for (const batch of BATCHES) {
        const step = { batch, count: 1, context: 128 };
        const result = await compareAhead(on, shape, step, options.quick ? QUICK : FULL);
        results.push({ shape: name, kernels, ...result });
        console.log(`${name.padEnd(14)}${kernels.padEnd(7)}${row(result)}`);
      }
      shape.close();
    }
  }
  await keepResult({ bench: "encode-ahead", device: device.description, results }, options);
  device.destroy();
  Deno.exit(0);
}

if (import.meta.main) await main();
