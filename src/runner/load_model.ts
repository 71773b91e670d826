import type { Model } from "../../models/model.ts";
import { readModel } from "../../models/registry.ts";
import { omitUndefined } from "../base/omit_undefined.ts";
import type { EngineConfig } from "../core/engine_config.ts";
import type { Logger } from "../base/log.ts";
import { readModelText } from "../core/model_json.ts";
import { modelFingerprint } from "../weights/fingerprint.ts";
import { findModelSource } from "../weights/model_source.ts";
import { textCheckpoint } from "../weights/text_part.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { RunnerInputs } from "./runner_inputs.ts";
import { unifiedMemory } from "./unified_memory.ts";
import { fallbackNotices, quantBlockNotices, unusedTensors, warnOfUnused } from "./load_notices.ts";
import { allocateModel } from "./allocate_model.ts";
import { smallerHint } from "./does_not_fit.ts";
import type { MemoryInputs } from "./fit_context.ts";
import { openDevice } from "./open_device.ts";
import { type MemoryPlan, memoryText, planMemory } from "./plan_memory.ts";
import type { RunnerMemory } from "./runner_memory.ts";
import { percent, type StartupPhases } from "./startup_phases.ts";
import { swapLayout, swapText } from "./swap_layout.ts";
import { type UploadedWeights, uploadWeights, weightSources } from "./upload_weights.ts";

/** A model on a device, with the memory of its steps: all but its kernels. */
export interface LoadedModel {
  readonly inputs: RunnerInputs;
  readonly memory: RunnerMemory;
  /** Tells one set of weights from another. */
  readonly modelFingerprint: string;
}

/**
 * Opens the device, loads the weights and allocates the KV pool. Says in the log what of the
 * model's files is not used.
 *
 * @throws {StartupError} for what the user can fix: files, flags, memory.
 */
export async function loadModel(
  config: EngineConfig,
  phases: StartupPhases,
  log: Logger,
): Promise<LoadedModel> {
  const device = await phases.run(
    "open device",
    () => openDevice(config.device, config.gpuBackend),
  );
  const source = findModelSource(config.modelDir);
  const files = source.configFiles();
  const model = readModel(files);
  for (const warning of model.warnings) log.warn(warning);
  const whole = source.openCheckpoint();
  try {
    const checkpoint = checkpointOf(model, whole);
    const inputs: MemoryInputs = {
      ...{ device, config, model },
      sources: weightSources(checkpoint, model.weights),
      ...(device.isSoftware ? { host: unifiedMemory() } : {}),
    };
    const plan = planMemory(inputs);
    // Refuses what the host has no room for, before weights are read.
    const { isKnown, freeBytes } = unifiedMemory();
    const swap = swapLayout(model, config, isKnown ? freeBytes : Infinity);
    warnOfUnused(log, unusedTensors(checkpoint.names(), model));
    const { quantization } = config;
    const notices = [
      ...plan.notices,
      ...quantBlockNotices(checkpoint, model.weights, quantization),
      ...fallbackNotices(inputs.sources, quantization),
      memoryText(plan),
      ...(swap === undefined ? [] : [swapText(swap)]),
    ];
    notices.forEach((notice) => phases.tell(notice));
    const weights = await load(inputs, { checkpoint, plan, phases });
    const tell = (notice: string) => phases.tell(notice);
    const configText = readModelText(files, "config.json") ?? "";
    return {
      ...await allocateModel(inputs, plan, { weights, tell }),
      modelFingerprint: modelFingerprint(configText, whole, quantization),
    };
  } finally {
    whole.close();
  }
}

/** Loads the weights, as one phase of the start. */
function load(
  inputs: MemoryInputs,
  { checkpoint, plan, phases }: {
    readonly checkpoint: Checkpoint;
    readonly plan: MemoryPlan;
    readonly phases: StartupPhases;
  },
): Promise<UploadedWeights> {
  const { device, config: { quantization }, model } = inputs;
  const phase = quantization === undefined
    ? "load weights"
    : `quantize weights to ${quantization.method}`;
  return phases.run(phase, (report) =>
    uploadWeights(device, checkpoint, model.weights, {
      ...omitUndefined({ quantization }),
      onProgress: (share) => report(percent(share)),
      hint: smallerHint(inputs, plan.weightBytes),
    }));
}

/** The model's tensors of a checkpoint, by the names that it knows. */
export function checkpointOf(
  { isTextPart }: Pick<Model, "isTextPart">,
  checkpoint: Checkpoint,
): Checkpoint {
  return isTextPart ? textCheckpoint(checkpoint) : checkpoint;
}
