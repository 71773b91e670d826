import type { Model } from "../../models/model.ts";
import { readModel } from "../../models/registry.ts";
import type { EngineConfig, StartupPhase } from "../core/engine_config.ts";
import { createLogger, type Logger } from "../base/log.ts";
import { StartupError } from "../core/errors.ts";
import { readModelText } from "../core/model_json.ts";
import { modelFingerprint } from "../weights/fingerprint.ts";
import { findModelSource } from "../weights/model_source.ts";
import { textWeights } from "../weights/text_part.ts";
import type { Weights } from "../weights/weights.ts";
import { blockNotices } from "./device_dtypes.ts";
import type { RunnerInputs } from "./runner_inputs.ts";
import { hostFreeBytes } from "./host_memory.ts";
import { unusedTensors, warnOfUnused } from "./load_warnings.ts";
import { kvBudget } from "./memory_budget.ts";
import { openDevice } from "./open_device.ts";
import { allocateMemory, bindableSteps, type RunnerMemory } from "./runner_memory.ts";
import { uploadWeights } from "./upload_weights.ts";

/** The phases of a start, timed as they pass and told as they begin. */
export class StartupPhases {
  readonly #progress: (phase: string) => void;
  readonly #passed: StartupPhase[] = [];

  /** @param progress is told the name of each phase, and of long ones how far they are. */
  constructor(progress: (phase: string) => void) {
    this.#progress = progress;
  }

  /** Reports a notice, beside the phases. */
  tell(notice: string): void {
    this.#progress(notice);
  }

  /** The phases that have ended, in order. */
  get passed(): readonly StartupPhase[] {
    return this.#passed;
  }

  /** Does the work of one phase; `report` takes words for how far it is. */
  async run<T>(
    name: string,
    work: (report: (words: string) => void) => T | Promise<T>,
  ): Promise<T> {
    this.#progress(name);
    const began = performance.now();
    const result = await work(seldom((words) => this.#progress(`${name}: ${words}`)));
    this.#passed.push({ name, seconds: (performance.now() - began) / 1000 });
    return result;
  }
}

/** Milliseconds between two reports of one phase, and before its first. */
const REPORT_EVERY_MS = 1000;

function seldom(tell: (words: string) => void): (words: string) => void {
  let lastMs = performance.now();
  return (words) => {
    if (performance.now() - lastMs < REPORT_EVERY_MS) return;
    lastMs = performance.now();
    tell(words);
  };
}

/** A model on a device, with the memory of its steps: all but its kernels. */
export interface LoadedModel {
  readonly inputs: RunnerInputs;
  readonly memory: RunnerMemory;
  /** Tells one set of weights from another. */
  readonly modelFingerprint: string;
}

/**
 * Opens the device, loads the weights and allocates the KV pool. The log is told what of the
 * model's files is not used.
 *
 * @throws {StartupError} for what the user can fix: files, flags, memory.
 */
export async function loadModel(
  config: EngineConfig,
  phases: StartupPhases,
  log: Logger = createLogger({
    format: config.logFormat ?? "text",
    level: config.logLevel ?? "info",
  }),
): Promise<LoadedModel> {
  const device = await phases.run(
    "open device",
    () => openDevice(config.device, config.gpuBackend),
  );
  const source = findModelSource(config.modelDir);
  const files = source.configFiles();
  const model = readModel(files);
  for (const warning of model.warnings) log.warn(warning);
  const budget = kvBudget(config, model, {
    modelMaxLen: model.maxPositionEmbeddings,
    maxBindingBytes: device.maxBindingBytes,
    ...(device.isSoftware ? { hostFreeBytes: hostFreeBytes() } : {}),
  });
  const { engine, notices } = bindableSteps({ device, engine: config, model, budget });
  notices.forEach((notice) => phases.tell(notice));
  let fingerprint = "";
  const { quantization } = config;
  const loadPhase = quantization === undefined
    ? "load weights"
    : `quantize weights to ${quantization.method}`;
  const weights = await phases.run(loadPhase, async (report) => {
    const whole = source.openWeights();
    try {
      const configText = readModelText(files, "config.json") ?? "";
      fingerprint = modelFingerprint(configText, whole, quantization);
      const checkpoint = weightsOf(model, whole);
      warnOfUnused(log, unusedTensors(checkpoint.names(), model));
      const notices = blockNotices(checkpoint, model.weights, quantization);
      notices.forEach((notice) => phases.tell(notice));
      return await uploadWeights(device, checkpoint, model.weights, {
        ...(quantization === undefined ? {} : { quantization }),
        onProgress: (share) => report(`${Math.floor(100 * share)} %`),
      });
    } finally {
      whole.close();
    }
  });
  const inputs = { device, engine, model, weights, budget };
  const memory = await allocateMemory(inputs).catch(outOfMemory);
  return { inputs, memory, modelFingerprint: fingerprint };
}

/** The model's tensors of a checkpoint, by the names that it knows. */
export function weightsOf({ isTextPart }: Pick<Model, "isTextPart">, checkpoint: Weights): Weights {
  return isTextPart ? textWeights(checkpoint) : checkpoint;
}

/**
 * Says what to lower where the device has no room for a start. @throws {StartupError} in that case.
 */
export function outOfMemory(error: unknown): never {
  if (!(error instanceof RangeError)) throw error;
  throw new StartupError(
    `The device has no room: ${error.message}; lower --kv-cache-memory-bytes, --max-model-len, ` +
      `--max-num-seqs or --max-num-batched-tokens`,
  );
}
