import { openDevice } from "../../src/runner/open_device.ts";
import type { DeviceChoice } from "../../src/core/engine_config.ts";
import { ModelRig, type StepShape } from "../model_rig.ts";
import { findRoom, openShape } from "../open_shape.ts";
import { fitCosts, type StepCosts, type StepSample } from "./costs.ts";
import { workOf } from "./step_work.ts";

/** Steps that tell the four constants apart: decodes and prompts, with short and long contexts. */
const STEPS: readonly StepShape[] = [
  ...[1, 8, 32].flatMap((batch) =>
    [64, 512, 1024].map((context) => ({ batch, count: 1, context }))
  ),
  ...[64, 256, 512].map((count) => ({ batch: 1, count, context: count })),
  ...[64, 256].map((count) => ({ batch: 1, count, context: 1024 })),
];

/** How the device is measured. */
export interface Calibration {
  readonly device: DeviceChoice;
  /** A model of `bench/shapes.ts`. */
  readonly shape: string;
  /** Runs of each step, of which the median counts. */
  readonly repeats: number;
}

/** Measures steps of a model on the device at hand, and fits the constants of its costs. */
export async function calibrate({ device: choice, shape, repeats }: Calibration) {
  const device = await openDevice(choice);
  const open = await openShape(device, shape);
  if ("skipped" in open) throw new RangeError(`${shape}: ${open.skipped}`);
  const samples: StepSample[] = [];
  for (const step of STEPS) {
    if (findRoom(device, open, step) !== undefined) continue;
    const rig = await ModelRig.create(device, open, step);
    const times: number[] = [];
    for (let i = 0; i < repeats; i++) times.push((await rig.run()).stepMs);
    rig.close();
    const spans = Array.from({ length: step.batch }, () => ({
      start: step.context - step.count,
      count: step.count,
    }));
    times.sort((a, b) => a - b);
    samples.push({ work: workOf(spans), ms: times[Math.floor(repeats / 2)]! });
  }
  const costs: StepCosts = {
    device: device.description,
    model: shape,
    source: `fitted to ${samples.length} measured steps (\`deno task sim --calibrate\`)`,
    ...fitCosts(samples),
  };
  open.close();
  device.destroy();
  return { costs, samples };
}
