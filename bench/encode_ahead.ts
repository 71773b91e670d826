/**
 * `deno task bench:encode-ahead [--shape NAME] [--quick] [--write]`: what recording the next step's
 * commands while the device works is worth.
 *
 * Decode steps with and without it, on the same weights in alternating runs: the median step of each, the
 * ratio of the two, and the host work between steps. A software adapter is measured with the kernels tuned
 * for it and with those for GPUs. Its threads share the processor with the host, so what overlaps there
 * gains little; it must not lose. Two models of few and of many calls, and hardly any arithmetic, tell what a
 * call costs the host; from that follows its share of a step of each known shape on a GPU of 1 TB/s. The
 * last line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import type { Device } from "../src/device/device.ts";
import { openDevice } from "../src/runner/open_device.ts";
import { actingAs, withProperties } from "../tests/support/acting_device.ts";
import { type HostCost, hostCosts, hostShares } from "./host_arithmetic.ts";
import { ModelRig, type StepShape, type StepTimes } from "./model_rig.ts";
import { NullDevice } from "./null_device.ts";
import { openModel, type OpenShape, openShape } from "./open_shape.ts";
import { benchOptions, keepResult } from "./results.ts";
import { type BenchShape, findShape } from "./shapes.ts";
import { median } from "./median.ts";

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
/** Bandwidth of the GPU that shares are computed for, GB/s. */
const GBPS = 1000;

/** The same device, which is never told what comes next. */
export function withoutAhead(device: Device): Device {
  const run: Device["run"] = (program, dims, read, { onSubmitted, further = [] } = {}) => {
    const unforeseen = further.map((next) => ({ program: next.program, dims: next.dims }));
    return device.run(program, dims, read, { onSubmitted, further: unforeseen });
  };
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
  const of = (field: keyof StepTimes) => median(times.map((time) => time[field]));
  return { stepMs: of("stepMs"), hostMs: of("hostMs"), aheadMs: of("aheadMs") };
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

/** A model of hardly any arithmetic with so many layers: what its step costs the host can be told. */
function layersOf(count: number): BenchShape {
  const tiny = findShape("tiny");
  return { ...tiny, name: `tiny x${count}`, config: { ...tiny.config, num_hidden_layers: count } };
}

/** Prints what the host's work is beside the bandwidth of a GPU, for all shapes. */
async function printShares(
  device: Device,
  [few, many]: readonly [AheadComparison, AheadComparison],
): Promise<unknown> {
  const costs = (way: "plain" | "ahead") =>
    hostCosts({ ...few, times: few[way] }, { ...many, times: many[way] });
  const [plain, ahead] = [costs("plain"), costs("ahead")];
  const gpu = new NullDevice({ ...device.capabilities, tier: "subgroups" });
  const [before, after] = [await hostShares(gpu, plain, GBPS), await hostShares(gpu, ahead, GBPS)];
  const micros = ({ perStep, perCall }: HostCost) =>
    `${(1000 * perStep).toFixed(0)} us and ${(1000 * perCall).toFixed(2)} us per call`;
  console.log(`\nBetween two steps: ${micros(plain.between)}; ahead ${micros(ahead.between)},`);
  console.log(
    `and ${micros(ahead.overlapped)} while the device works. By arithmetic, one sequence`,
  );
  console.log(`on a GPU that reads weights and KV at ${GBPS} GB/s:\n`);
  console.log("shape           calls   reading us   host us   share   ahead us   share");
  before.forEach(({ shape, numCalls, deviceMs, hostMs, share }, i) => {
    const percent = (value: number) => `${(100 * value).toFixed(1)} %`.padStart(8);
    console.log([
      shape.padEnd(14),
      String(numCalls).padStart(7),
      (1000 * deviceMs).toFixed(0).padStart(13),
      (1000 * hostMs).toFixed(0).padStart(10),
      percent(share),
      (1000 * after[i]!.hostMs).toFixed(0).padStart(11),
      percent(after[i]!.share),
    ].join(""));
  });
  return { gbps: GBPS, costs: { plain, ahead }, plain: before, ahead: after };
}

async function main(): Promise<void> {
  const options = benchOptions("smollm2-135m");
  const device = await openDevice(options.device);
  const variants: [kernels: string, device: Device][] = [["own", device]];
  if (device.isSoftware) variants.push(["GPU's", actingAs(device, { tier: "subgroups" })]);
  console.log(`Device  ${device.description}\n`);
  console.log("microseconds                       step                     host between steps");
  console.log(
    "shape         kernels batch  calls     plain     ahead   ratio      plain     ahead  overlapped",
  );
  const results: (AheadComparison & { shape: string; kernels: string })[] = [];
  const measure = async (shape: OpenShape, kernels: string, on: Device, batches: number[]) => {
    for (const batch of batches) {
      const step = { batch, count: 1, context: 128 };
      const result = await compareAhead(on, shape, step, options.quick ? QUICK : FULL);
      results.push({ shape: shape.name, kernels, ...result });
      console.log(`${shape.name.padEnd(14)}${kernels.padEnd(7)}${row(result)}`);
    }
    shape.close();
  };
  for (const count of [2, 30]) {
    await measure(await openModel(device, layersOf(count)) as OpenShape, "own", device, [1]);
  }
  const [few, many] = results;
  for (const name of options.shapes) {
    for (const [kernels, on] of variants) {
      const shape = await openShape(on, name);
      if ("skipped" in shape) console.log(`${name.padEnd(14)}skipped: ${shape.skipped}`);
      else await measure(shape, kernels, on, BATCHES);
    }
  }
  const shares = await printShares(device, [few!, many!]);
  const result = { device: device.description, results, shares };
  await keepResult({ bench: "encode-ahead", ...result }, options);
  device.destroy();
  Deno.exit(0);
}

if (import.meta.main) await main();
