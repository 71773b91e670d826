import type { Tuning } from "../../kernels/tuning/tuning.ts";
import { systemClock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { EngineConfig } from "../core/engine_config.ts";
import type { Device } from "../device/device.ts";
import type { RunnerInputs } from "./runner_inputs.ts";
import type { RunnerMemory } from "./runner_memory.ts";
import { tuneKernels } from "./tune_kernels.ts";
import { TuningFile } from "./tuning_file.ts";
import { defaultTuning } from "./default_tuning.ts";

/**
 * How long a start times kernels: no operation is begun later, and one takes a fraction of a
 * second. What is left is timed at the next start.
 */
export const AUTOTUNE_LIMIT_MS = 20_000;

/** How the tuning of a start is chosen. */
export interface ChooseOptions {
  readonly inputs: RunnerInputs;
  readonly memory: RunnerMemory;
  readonly log: Logger;
  /** Called with the progress of the timing, as text. */
  readonly progress: (text: string) => void;
  /** Milliseconds that never go back; default: this machine's. */
  readonly now?: () => number;
}

/**
 * Whether {@link chooseTuning} may return anything but the device's default tuning: kernels may be
 * timed, or there is a file with earlier times. Asking costs nothing.
 */
export function mayTune({ kind, isSoftware }: Device, config: EngineConfig): boolean {
  // Timings decide about the order of additions, and bits must not depend on timings.
  if (kind === "cpu" || config.isDeterministic === true) return false;
  return timesKernels(isSoftware, config) || isFile(config.tuningStore);
}

/**
 * The tuning for a model on its device: each operation in the variant that was fastest when it was
 * timed, at an earlier start or now.
 *
 * With `--autotune auto` only GPUs time kernels: on a software adapter, compiling the variants is
 * what takes long. Earlier times count in any case.
 *
 * @throws {KernelError} when a kernel of the device's default tuning does not compile.
 */
export async function chooseTuning(options: ChooseOptions): Promise<Tuning> {
  const { inputs: { device, config }, log, progress, now = systemClock.now } = options;
  if (!mayTune(device, config)) return defaultTuning(device, config);
  const { tuningStore: path } = config;
  const file = path === undefined ? undefined : new TuningFile(path, device, log);
  const known = await file?.read() ?? [];
  const result = await tuneKernels({
    ...options,
    now,
    known,
    limitMs: timesKernels(device.isSoftware, config) ? AUTOTUNE_LIMIT_MS : 0,
    onProgress: (numDone, numAll) =>
      progress(`${numDone} of ${numAll} operations, for ${AUTOTUNE_LIMIT_MS / 1000} s at most`),
  });
  const { timed, numLeft } = result;
  if (timed.length > 0) {
    log.info("kernels are tuned", { timed: timed.length, left: numLeft, known: known.length });
    await file?.write(timed);
  }
  return result.tuning;
}

function timesKernels(isSoftware: boolean, { autotune = "auto" }: EngineConfig): boolean {
  return autotune === "on" || (autotune === "auto" && !isSoftware);
}

function isFile(path: string | undefined): boolean {
  try {
    return path !== undefined && Deno.statSync(path).isFile;
  } catch {
    // The file is absent or unreadable: there are no earlier times.
    return false;
  }
}
