import type { Tuning } from "../kernels/tuning/tuning.ts";
import { createLogger } from "../src/base/log.ts";
import type { Device } from "../src/device/device.ts";
import { DEFAULT_VARIANT } from "../kernels/tuning/tuning_variants.ts";
import { allocateMemory } from "../src/runner/runner_memory.ts";
import { tuneKernels } from "../src/runner/tune_kernels.ts";
import { rigInputs } from "./model_rig.ts";
import type { OpenShape } from "./open_shape.ts";
import { WatchedDevice } from "./watched_device.ts";

/** The step in whose memory operations are timed: what a start of the server may time, it has room for. */
const STEP = { batch: 16, count: 32, context: 2048 };

/** What tuning a shape came to. */
export interface TunedShape {
  readonly tuning: Tuning;
  /** Operations that were timed, and those of them that run in another variant than the usual one. */
  readonly numTimed: number;
  readonly chosen: Readonly<Record<string, string>>;
  readonly seconds: number;
}

/** Times every operation's variants for a shape, as `quire tune` does for a model. */
export async function tuneShape(device: Device, shape: OpenShape): Promise<TunedShape> {
  const watched = new WatchedDevice(device);
  const began = performance.now();
  const now = () => performance.now();
  try {
    const inputs = rigInputs(watched, shape, STEP);
    const memory = await allocateMemory(inputs);
    const { tuning, timed } = await tuneKernels({
      inputs,
      memory,
      log: createLogger(),
      now,
      known: [],
      limitMs: Infinity,
    });
    const others = timed.filter(({ variant }) => variant !== DEFAULT_VARIANT);
    return {
      tuning,
      numTimed: timed.length,
      chosen: Object.fromEntries(others.map(({ operation, variant }) => [operation, variant])),
      seconds: (now() - began) / 1000,
    };
  } finally {
    watched.close();
  }
}
