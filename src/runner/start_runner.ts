import { loadModelConfig } from "../../models/model_config.ts";
import { modelFamily } from "../../models/registry.ts";
import type { EngineConfig, EngineInfo, StartupPhase } from "../core/engine_config.ts";
import { StartupError } from "../core/errors.ts";
import { kvFormat } from "../core/kv_layout.ts";
import { readModelText } from "../core/model_json.ts";
import { describeFeatures } from "../device/capabilities.ts";
import type { Device } from "../device/device.ts";
import { modelFingerprint } from "../weights/fingerprint.ts";
import { openWeights } from "../weights/safetensors.ts";
import { buildRunner } from "./build_runner.ts";
import { hostFreeBytes } from "./host_memory.ts";
import { kvBudget } from "./memory_budget.ts";
import type { ModelRunner } from "./model_runner.ts";
import { openDevice } from "./open_device.ts";
import { uploadWeights } from "./upload_weights.ts";
import { warmUp } from "./warm_up.ts";

/**
 * Opens the device, loads the model and makes everything the step loop needs.
 *
 * @param progress is told the name of each phase as it begins, and while weights load how far it is.
 * @throws {StartupError} for what the user can fix: files, flags, memory.
 */
export async function startRunner(
  config: EngineConfig,
  progress: (phase: string) => void,
): Promise<{ runner: ModelRunner; info: EngineInfo; modelFingerprint: string }> {
  const phases: StartupPhase[] = [];
  const phase = async <T>(name: string, run: () => T | Promise<T>): Promise<T> => {
    progress(name);
    const began = performance.now();
    const result = await run();
    phases.push({ name, seconds: (performance.now() - began) / 1000 });
    return result;
  };
  const device = await phase("open device", () => openDevice(config.device, config.gpuBackend));
  const model = loadModelConfig(config.modelDir);
  const family = modelFamily(model.modelType);
  const budget = kvBudget(config, { ...model, ...kvFormat(config) }, {
    modelMaxLen: model.maxPositionEmbeddings,
    maxBindingBytes: device.maxBindingBytes,
    ...(device.isSoftware ? { hostFreeBytes: hostFreeBytes() } : {}),
  });
  let fingerprint = "";
  const { quantization } = config;
  const loadPhase = quantization === undefined
    ? "load weights"
    : `quantize weights to ${quantization.method}`;
  const weights = await phase(loadPhase, async () => {
    const checkpoint = openWeights(config.modelDir);
    try {
      const configText = readModelText(config.modelDir, "config.json") ?? "";
      fingerprint = modelFingerprint(configText, checkpoint, quantization);
      return await uploadWeights(device, checkpoint, family.weights(model), {
        ...(quantization === undefined ? {} : { quantization }),
        onProgress: reportShare(loadPhase, progress),
      });
    } finally {
      checkpoint.close();
    }
  });
  const inputs = { device, engine: config, model, family, weights, budget };
  const runner = await phase("compile kernels", () => buildRunner(inputs).catch(outOfMemory));
  await phase("warm up", () => warmUp(runner, config, budget));
  const info: EngineInfo = {
    device: describeDevice(device),
    deviceKind: device.kind,
    modelType: model.modelType,
    numParameters: weights.numParameters,
    weightBytes: weights.bytes,
    vocabSize: model.vocabSize,
    maxModelLen: budget.maxModelLen,
    numBlocks: budget.numBlocks,
    kvCacheBytes: budget.bytes,
    growthLimit: budget.growthLimit,
    ...askedFor(config),
    phases,
  };
  return { runner, info, modelFingerprint: fingerprint };
}

/** What is as the configuration has it. */
function askedFor(config: EngineConfig) {
  const { quantization, kvCacheF16EdgeLayers, isDeterministic } = config;
  const { blockSize, kvCacheDtype, maxNumSeqs, maxNumBatchedTokens } = config;
  return {
    blockSize,
    kvCacheDtype,
    maxNumSeqs,
    maxNumBatchedTokens,
    ...(quantization === undefined ? {} : { quantization }),
    ...(kvCacheF16EdgeLayers === undefined ? {} : { kvCacheF16EdgeLayers }),
    ...(isDeterministic === undefined ? {} : { isDeterministic }),
  } satisfies Partial<EngineInfo>;
}

/** The adapter with the features that kernels may use on it. */
function describeDevice({ kind, description, capabilities }: Device): string {
  return kind === "cpu" ? description : `${description}: ${describeFeatures(capabilities)}`;
}

/** Tells of a long phase at most once in so many milliseconds. */
const REPORT_EVERY_MS = 1000;

/** Words for the shares of a phase that is under way; none for one that takes no time. */
function reportShare(phase: string, progress: (words: string) => void): (share: number) => void {
  let lastMs = performance.now();
  return (share) => {
    if (performance.now() - lastMs < REPORT_EVERY_MS) return;
    lastMs = performance.now();
    progress(`${phase}: ${Math.floor(100 * share)} %`);
  };
}

function outOfMemory(error: unknown): never {
  if (!(error instanceof RangeError)) throw error;
  throw new StartupError(
    `The device has no room: ${error.message}; lower --kv-cache-memory-bytes, --max-num-seqs or ` +
      `--max-num-batched-tokens`,
  );
}
