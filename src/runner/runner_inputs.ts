import type { Model } from "../../models/model.ts";
import type { EngineConfig } from "../core/engine_config.ts";
import type { Device } from "../device/device.ts";
import type { KvBudget } from "./memory_budget.ts";
import type { UploadedWeights } from "./upload_weights.ts";

/** The inputs of a runner: a model on its device, and its memory budget there. */
export interface RunnerInputs {
  readonly device: Device;
  readonly config: EngineConfig;
  readonly model: Model;
  readonly weights: UploadedWeights;
  readonly budget: KvBudget;
}
