/**
 * `deno task bench:deterministic [--shape NAME] [--quick] [--write]`: what `--deterministic` costs.
 *
 * Decode and prefill steps with and without it, on the same weights in alternating runs: the median of
 * each, and the ratio of the two. The shape is `demo`, the bundled model, or one of `shapes.ts`. A software
 * adapter is measured as it is and in the shapes tuned for GPUs; the latter tell which kernels change, not
 * what a GPU makes of them. The last line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { readModel } from "../models/registry.ts";
import type { Device } from "../src/device/device.ts";
import { openDevice } from "../src/runner/open_device.ts";
import { uploadWeights } from "../src/runner/upload_weights.ts";
import { openSafetensors } from "../src/weights/safetensors.ts";
import { actingAs } from "../tests/support/acting_device.ts";
import { demoConfig } from "./demo.ts";
import { ModelRig, type StepShape } from "./model_rig.ts";
import { findRoom, type OpenShape, openShape, type SkippedShape } from "./open_shape.ts";
import { benchOptions, keepResult } from "./results.ts";
import { median } from "./median.ts";

/** A step with and without the flag. */
export interface Comparison extends StepShape {
  readonly plainMs: number;
  readonly deterministicMs: number;
  /** How many times as long the deterministic step takes. */
  readonly ratio: number;
}

/** Rounds in which both run once, and for how long each time, ms; at least one step. */
const FULL = { rounds: 9, runMs: 300 };
const QUICK = { rounds: 1, runMs: 0 };

/** Decodes of one and eight sequences, and one chunk of a prompt, at a short and a long context. */
const STEPS: readonly StepShape[] = [128, 2048].flatMap((context) => [
  { batch: 1, count: 1, context },
  { batch: 8, count: 1, context },
  { batch: 1, count: 128, context },
]);

/** Runs a step both ways in turn. */
export async function compareStep(
  device: Device,
  shape: OpenShape,
  step: StepShape,
  { rounds, runMs }: { rounds: number; runMs: number },
): Promise<Comparison> {
  const plain = await ModelRig.create(device, shape, step);
  const deterministic = await ModelRig.create(device, shape, step, { isDeterministic: true });
  const rigs = [{ rig: plain, times: [] as number[] }, { rig: deterministic, times: [] }];
  for (let round = 0; round < rounds; round++) {
    // Each goes first in turn, so that a drift of the machine does not count for one of them.
    for (const { rig, times } of round % 2 === 0 ? rigs : rigs.toReversed()) {
      const began = performance.now();
      do times.push((await rig.run()).stepMs); while (performance.now() - began < runMs);
    }
  }
  for (const { rig } of rigs) rig.close();
  const [plainMs, deterministicMs] = rigs.map(({ times }) => median(times));
  const ratio = deterministicMs! / plainMs!;
  return { ...step, plainMs: plainMs!, deterministicMs: deterministicMs!, ratio };
}

/** The bundled model with its own weights. */
async function openDemo(device: Device): Promise<OpenShape> {
  const { modelDir } = demoConfig("auto");
  const model = readModel(modelDir);
  const checkpoint = openSafetensors(modelDir);
  const weights = await uploadWeights(device, checkpoint, model.weights);
  checkpoint.close();
  const size = { weightBytes: weights.bytes, numParameters: weights.numParameters };
  return { name: "demo", note: undefined, model, weights, size, close: () => {} };
}

function open(device: Device, name: string): Promise<OpenShape | SkippedShape> {
  return name === "demo" ? openDemo(device) : openShape(device, name);
}

async function main(): Promise<void> {
  const options = benchOptions("demo");
  const device = await openDevice(options.device);
  const asGpu = actingAs(device, { tier: "subgroups" });
  const variants: [kernels: string, device: Device][] = [["own", device]];
  if (device.isSoftware && device.kind === "webgpu") variants.push(["GPU's", asGpu]);
  console.log(`Device  ${device.description}\n`);
  console.log("shape          kernels   step              plain ms   deterministic ms   ratio");
  const results = [];
  for (const name of options.shapes) {
    for (const [kernels, on] of variants) {
      // Anew for each: weights are laid out for the kernels that read them.
      const shape = await open(on, name);
      if ("skipped" in shape) {
        console.log(`${name.padEnd(15)}skipped: ${shape.skipped}`);
        continue;
      }
      for (const step of options.quick ? STEPS.slice(0, 3) : STEPS) {
        if (findRoom(device, shape, step) !== undefined) continue;
        const result = await compareStep(on, shape, step, options.quick ? QUICK : FULL);
        results.push({ shape: name, kernels, ...result });
        console.log([name.padEnd(15), kernels.padEnd(10), row(result)].join(""));
      }
      shape.close();
    }
  }
  await keepResult({ bench: "deterministic", device: device.description, results }, options);
  device.destroy();
  Deno.exit(0);
}

function row({ batch, count, context, plainMs, deterministicMs, ratio }: Comparison): string {
  const what = count > 1 ? `prefill ${count} @${context}` : `decode ${batch} @${context}`;
  return [
    what.padEnd(16),
    plainMs.toFixed(2).padStart(10),
    deterministicMs.toFixed(2).padStart(19),
    ratio.toFixed(3).padStart(8),
  ].join("");
}

if (import.meta.main) await main();
