import { type Tuning, tuningFor } from "../../kernels/tuning/tuning.ts";
import type { EngineConfig } from "../core/engine_config.ts";
import type { Device } from "../device/device.ts";

/** The device's tuning before any kernel is timed, with the configuration's options. */
export function defaultTuning(
  { capabilities }: Pick<Device, "capabilities">,
  { isDeterministic = false, int8Activations = "off" }: Pick<
    EngineConfig,
    "isDeterministic" | "int8Activations"
  >,
): Tuning {
  return tuningFor(capabilities, { isDeterministic, int8Activations });
}
