import { createLogger } from "../base/log.ts";
import { omitUndefined } from "../base/omit_undefined.ts";
import {
  type EngineConfig,
  type EngineInfo,
  type StartupPhase,
  WARM_UP_PHASE,
} from "../core/engine_config.ts";
import { describeFeatures } from "../device/capabilities.ts";
import type { Device } from "../device/device.ts";
import { buildRunner } from "./build_runner.ts";
import type { RunnerInputs } from "./runner_inputs.ts";
import { chooseTuning, mayTune } from "./choose_tuning.ts";
import { kvMemory, poolGroups } from "./kv_memory.ts";
import { shortContext } from "./position_table.ts";
import { loadModel } from "./load_model.ts";
import type { ModelRunner } from "./model_runner.ts";
import { defaultTuning } from "./default_tuning.ts";
import { percent, StartupPhases } from "./startup_phases.ts";
import { swapLayout } from "./swap_layout.ts";
import { warmUp } from "./warm_up.ts";

/**
 * Opens the device, loads the model and makes everything the step loop needs.
 *
 * @param progress is told the name of each phase as it begins, and of long ones how far they are.
 * @throws {StartupError} for what the user can fix: files, flags, memory.
 */
export async function startRunner(
  config: EngineConfig,
  progress: (phase: string) => void,
): Promise<{ runner: ModelRunner; info: EngineInfo; modelFingerprint: string }> {
  const phases = new StartupPhases(progress);
  const log = createLogger({
    format: config.logFormat ?? "text",
    level: config.logLevel ?? "info",
  });
  const { inputs, memory, modelFingerprint } = await loadModel(config, phases, log);
  const tuning = mayTune(inputs.device, config)
    ? await phases.run(
      "tune kernels",
      (report) => chooseTuning({ inputs, memory, log, progress: report }),
    )
    : undefined;
  const warn = (text: string) => log.warn(text);
  const options = { memory, warn, ...omitUndefined({ tuning }) };
  const runner = await phases.run(
    "compile kernels",
    (report) => buildRunner(inputs, { ...options, onProgress: (share) => report(percent(share)) }),
  );
  const { model, budget, config: bindable, device: { kind: deviceKind } } = inputs;
  const swapSpace = swapLayout(model, bindable)?.space;
  const pool = { deviceKind, ...budget, ...poolGroups(kvMemory(model, bindable)), swapSpace };
  await phases.run(
    WARM_UP_PHASE,
    (report) => warmUp(runner, bindable, pool, (share) => report(percent(share))),
  );
  return { runner, info: engineInfo(inputs, phases.passed), modelFingerprint };
}

function engineInfo(
  { device, config, model, weights, budget }: RunnerInputs,
  phases: readonly StartupPhase[],
): EngineInfo {
  const swapSpace = swapLayout(model, config)?.space;
  return {
    ...omitUndefined({ swapSpace }),
    ...askedFor(config),
    ...multipliesInt8(device, config) ? { hasInt8Activations: true } : {},
    device: describeDevice(device),
    deviceKind: device.kind,
    modelType: model.modelType,
    numParameters: weights.numParameters,
    weightBytes: weights.bytes,
    vocabSize: model.vocabSize,
    maxModelLen: budget.maxModelLen,
    ...shortContext(model, budget),
    numBlocks: budget.numBlocks,
    kvCacheBytes: budget.bytes,
    maxNumBlocks: budget.maxNumBlocks,
    ...poolGroups(kvMemory(model, config)),
    phases,
  };
}

/** Whether there are quantized weights, and activations are quantized for them. */
function multipliesInt8(device: Device, config: EngineConfig): boolean {
  return config.quantization !== undefined && defaultTuning(device, config).usesW8a8;
}

/** The fields that the configuration decides. */
function askedFor(config: EngineConfig) {
  const { quantization, kvCacheF16EdgeLayers, isDeterministic } = config;
  const { blockSize, kvCacheDtype, maxNumSeqs, maxNumBatchedTokens } = config;
  return {
    blockSize,
    kvCacheDtype,
    maxNumSeqs,
    maxNumBatchedTokens,
    ...omitUndefined({ quantization, kvCacheF16EdgeLayers, isDeterministic }),
  } satisfies Partial<EngineInfo>;
}

/** The adapter with the features that kernels may use on it. */
export function describeDevice({ kind, description, capabilities }: Device): string {
  return kind === "cpu" ? description : `${description}: ${describeFeatures(capabilities)}`;
}
