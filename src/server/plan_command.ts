import type { Model } from "../../models/model.ts";
import { formatByteSize } from "../base/byte_size.ts";
import { nearestName } from "../base/edit_distance.ts";
import { ConfigSchema } from "../core/config_schema.ts";
import { StartupError } from "../core/errors.ts";
import type { PlanConfig } from "../core/plan_config.ts";
import { planKv, type PlanOptions } from "../plan/kv_plan.ts";
import type { ModelShape } from "../plan/model_shape.ts";
import { planJson } from "../plan/plan_json.ts";
import { planText } from "../plan/plan_text.ts";
import { type PlannedWeights, plannedWeights } from "../plan/weight_bytes.ts";
import { DEMO_PRESET, PRESET_NAMES } from "../plan/presets.ts";
import { parseLengths } from "../plan/request_lengths.ts";
import type { Traffic } from "../plan/traffic_plan.ts";
import { poolWithin } from "../runner/pool_within.ts";
import { findModelSource } from "../weights/model_source.ts";
import { fileWeights } from "./file_weights.ts";
import { mayRead } from "./may_read.ts";
import {
  isHiddenPath,
  isModelPath,
  type ModelDirectory,
  modelInDirectory,
} from "./model_directory.ts";
import { declaredModel, loadShape, modelConfig, presetConfig, presetShape } from "./model_shape.ts";

/** Most sequences of a step, as `serve` has it unless told otherwise. */
const DEFAULT_NUM_SEQS = ConfigSchema.shape.maxNumSeqs.parse(undefined);
/** Largest file of lengths that is read, in bytes. */
const MAX_LENGTHS_BYTES = 64 * 2 ** 20;

/**
 * What `quire plan` prints.
 *
 * @param named the folder with the config.json, or the GGUF file, for a model by name.
 * @throws {StartupError} on a model that is neither a preset nor on disk, and on a file of lengths
 * that cannot be read.
 */
export function planCommand(config: PlanConfig, named?: ModelDirectory): string {
  const { blockSize, maxNumBatchedTokens, maxModelLen, lengths } = config;
  const { kvCacheF16EdgeLayers: f16EdgeLayers } = config;
  const planned = named === undefined ? findModel(config.model ?? DEMO_PRESET) : modelIn(named);
  const { shape, weights } = planned;
  const plan = planKv(shape, {
    ...divideMemory(config, planned),
    blockSize,
    maxNumBatchedTokens,
    ...(maxModelLen === undefined ? {} : { maxModelLen }),
    ...(f16EdgeLayers === undefined ? {} : { f16EdgeLayers }),
    ...(weights === undefined ? {} : { fileWeights: weights }),
    ...(lengths === undefined ? {} : { traffic: [readTraffic(lengths)] }),
  });
  return config.json ? JSON.stringify(planJson(plan)) : planText(plan);
}

/** The bytes of the pool: those given, or what weights and activations leave over of all. */
function divideMemory(
  config: PlanConfig,
  { shape, weights: file, model }: PlannedModel,
): Pick<PlanOptions, "memoryBytes" | "division"> {
  const { memory, gpuMemoryBytes: totalBytes, quantization, blockSize } = config;
  if (totalBytes === undefined) return { memoryBytes: memory };
  const byFormat = plannedWeights(shape);
  const weights = quantization === "none"
    ? file ?? byFormat[0]
    : byFormat.find(({ format }) => format === quantization);
  if (weights === undefined || model === undefined) {
    throw new StartupError(
      `--gpu-memory-bytes needs a model whose weights are known, and ${shape.name} is not of a ` +
        "family that runs here: give the pool's size as --memory",
    );
  }
  const { maxNumBatchedTokens, maxModelLen } = config;
  const pool = poolWithin(model, totalBytes - weights.bytes, {
    ...{ blockSize, maxNumBatchedTokens, maxNumSeqs: DEFAULT_NUM_SEQS },
    ...(maxModelLen === undefined ? {} : { maxModelLen }),
  });
  if (pool === undefined) throw new StartupError(leavesNothing(totalBytes, weights, byFormat));
  const { activationBytes, poolBytes } = pool;
  return { memoryBytes: poolBytes, division: { totalBytes, weights, activationBytes } };
}

function leavesNothing(
  totalBytes: number,
  { bytes }: PlannedWeights,
  byFormat: readonly PlannedWeights[],
): string {
  const smaller = byFormat.filter((other) => other.bytes < bytes)
    .map((other) => `--quantization ${other.format} (${formatByteSize(other.bytes)})`);
  return `--gpu-memory-bytes ${formatByteSize(totalBytes)} leaves too little for activations and ` +
    `KV: the weights take ${formatByteSize(bytes)}` +
    (smaller.length === 0 ? "" : `; smaller are ${smaller.join(" and ")}`);
}

/** What is planned for. */
interface PlannedModel {
  readonly shape: ModelShape;
  /** Its declarations, where the server runs it. */
  readonly model: Model | undefined;
  /** Of a GGUF file. */
  readonly weights?: PlannedWeights | undefined;
}

function modelIn({ dir, name }: ModelDirectory): PlannedModel {
  const source = findModelSource(dir);
  const files = source.configFiles();
  const shape = loadShape(files, name);
  return { shape, weights: fileWeights(source), model: declaredModel(modelConfig(files)) };
}

function findModel(model: string): PlannedModel {
  const preset = presetShape(model);
  if (preset !== undefined) return { shape: preset, model: declaredModel(presetConfig(model)!) };
  // One that may not be read is refused there, with the flag that lets it.
  if (isModelPath(model) || isHiddenPath(model)) return modelIn(modelInDirectory(model));
  const nearest = nearestName(model.toLowerCase(), PRESET_NAMES);
  throw new StartupError(
    `--model ${
      JSON.stringify(model)
    } is neither a directory with a config.json, nor a GGUF file, nor a preset: ` +
      (nearest === undefined
        ? `presets are ${PRESET_NAMES.join(", ")}`
        : `did you mean ${nearest}?`),
  );
}

function readTraffic(file: string): Traffic {
  if (!mayRead(file)) {
    throw new StartupError(
      `Not allowed to read --lengths ${JSON.stringify(file)}: start with --allow-read=${file}`,
    );
  }
  const { isFile, size } = statOf(file) ?? {};
  if (isFile !== true) throw new StartupError(`--lengths ${JSON.stringify(file)} is not a file`);
  if (size! > MAX_LENGTHS_BYTES) {
    throw new StartupError(
      `--lengths ${JSON.stringify(file)} has ${size} bytes, over the limit of ${MAX_LENGTHS_BYTES}`,
    );
  }
  return { name: file, requests: parseLengths(Deno.readTextFileSync(file), file) };
}

function statOf(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch {
    return undefined;
  }
}
