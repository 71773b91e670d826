import { type Tuning, tuningFor } from "../../kernels/tuning/tuning.ts";
import type { EngineConfig } from "../core/engine_config.ts";
import type { Device } from "../device/device.ts";

/** A device's tuning before anything was timed, as the configuration wants it. */
export function ownTuning(
  { capabilities }: Pick<Device, "capabilities">,
  { isDeterministic = false, int8Activations = "off" }: Pick<
    EngineConfig,
    "isDeterministic" | "int8Activations"
  >,
): Tuning {
  return tuningFor(capabilities, { isDeterministic, int8Activations });
}
