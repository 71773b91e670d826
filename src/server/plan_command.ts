import { nearestName } from "../base/edit_distance.ts";
import { StartupError } from "../core/errors.ts";
import type { PlanConfig } from "../core/plan_config.ts";
import { planKv } from "../plan/kv_plan.ts";
import type { ModelShape } from "../plan/model_shape.ts";
import { planJson } from "../plan/plan_json.ts";
import { planText } from "../plan/plan_text.ts";
import type { PlannedWeights } from "../plan/weight_bytes.ts";
import { DEMO_PRESET, PRESET_NAMES } from "../plan/presets.ts";
import { parseLengths } from "../plan/request_lengths.ts";
import type { Traffic } from "../plan/traffic_plan.ts";
import { findModelSource } from "../weights/model_source.ts";
import { fileWeights } from "./file_weights.ts";
import {
  isHiddenPath,
  isModelPath,
  type ModelDirectory,
  modelInDirectory,
} from "./model_directory.ts";
import { loadShape, presetShape } from "./model_shape.ts";

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
  const { memory, blockSize, maxNumBatchedTokens, maxModelLen, lengths } = config;
  const { kvCacheF16EdgeLayers: f16EdgeLayers } = config;
  const { shape, weights } = named === undefined
    ? findModel(config.model ?? DEMO_PRESET)
    : modelIn(named);
  const plan = planKv(shape, {
    memoryBytes: memory,
    blockSize,
    maxNumBatchedTokens,
    ...(maxModelLen === undefined ? {} : { maxModelLen }),
    ...(f16EdgeLayers === undefined ? {} : { f16EdgeLayers }),
    ...(weights === undefined ? {} : { fileWeights: weights }),
    ...(lengths === undefined ? {} : { traffic: [readTraffic(lengths)] }),
  });
  return config.json ? JSON.stringify(planJson(plan)) : planText(plan);
}

/** What is planned for. */
interface PlannedModel {
  readonly shape: ModelShape;
  /** Of a GGUF file. */
  readonly weights?: PlannedWeights | undefined;
}

function modelIn({ dir, name }: ModelDirectory): PlannedModel {
  const source = findModelSource(dir);
  return { shape: loadShape(source.configFiles(), name), weights: fileWeights(source) };
}

function findModel(model: string): PlannedModel {
  const preset = presetShape(model);
  if (preset !== undefined) return { shape: preset };
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
  if (Deno.permissions.querySync({ name: "read", path: file }).state !== "granted") {
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
