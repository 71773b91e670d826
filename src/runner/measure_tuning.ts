import { systemClock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { EngineConfig } from "../core/engine_config.ts";
import { StartupError } from "../core/errors.ts";
import type { TunedOperation } from "../state/tuning_store.ts";
import { type BlockSizeTimes, compareBlockSizes } from "./block_sizes.ts";
import { loadModel } from "./load_model.ts";
import { DRIVER_HINT } from "./open_device.ts";
import { describeDevice } from "./start_runner.ts";
import { StartupPhases } from "./startup_phases.ts";
import { tuneKernels } from "./tune_kernels.ts";
import { TuningFile } from "./tuning_file.ts";

/** The times of a model's kernels on this machine. */
export interface MeasuredTuning {
  /** The device, as text. */
  readonly device: string;
  readonly operations: readonly TunedOperation[];
  readonly blockSizes: BlockSizeTimes;
}

/** How far block sizes are compared, and where progress goes. */
export interface MeasureOptions {
  /** Longest sequences for which block sizes are compared, in tokens. */
  readonly context: number;
  readonly log: Logger;
  /** Called with each phase as it begins, and with its progress. */
  readonly progress: (text: string) => void;
}

/**
 * Times every variant of a model's operations anew and keeps the times; earlier ones are ignored.
 *
 * @throws {StartupError} where there is no adapter, and as `startRunner`.
 */
export async function measureTuning(
  config: EngineConfig,
  { context, log, progress }: MeasureOptions,
): Promise<MeasuredTuning> {
  const phases = new StartupPhases(progress);
  const { inputs, memory } = await loadModel(config, phases, log);
  const { device } = inputs;
  if (device.kind === "cpu") {
    throw new StartupError(`There is nothing to tune on the reference device: ${DRIVER_HINT}`);
  }
  const options = { inputs, memory, log, now: systemClock.now };
  const { operations } = await phases.run("tune kernels", (report) =>
    tuneKernels({
      ...options,
      known: [],
      limitMs: Infinity,
      onProgress: (numDone, numAll) => report(`${numDone} of ${numAll} operations`),
    }));
  const blockSizes = await phases.run(
    "compare block sizes",
    () => compareBlockSizes(options, context),
  );
  if (config.tuningStore !== undefined) {
    await new TuningFile(config.tuningStore, device, log).write(operations);
  }
  device.destroy();
  return { device: describeDevice(device), operations, blockSizes };
}
