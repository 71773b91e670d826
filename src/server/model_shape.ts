import type { Model } from "../../models/model.ts";
import { KNOWN_MODEL_TYPES, parseModel, TEXT_PART_MODEL_TYPES } from "../../models/registry.ts";
import { StartupError } from "../core/errors.ts";
import { modelFile, type ModelFiles, readModelJson } from "../core/model_json.ts";
import type { ModelShape, WeightShape } from "../plan/model_shape.ts";
import { findPreset } from "../plan/presets.ts";
import { parseGenericShape } from "../plan/shape_config.ts";
import { isVector, weightShape } from "../runner/weight_buffers.ts";

/**
 * Reads the shape of a model from its config.json, whether the server can run it or not.
 *
 * @throws {StartupError} naming the file, the field, its value and what it must be.
 */
export function loadShape(files: ModelFiles, name: string): ModelShape {
  const file = modelFile(files, "config.json");
  const json = readModelJson(files, "config.json");
  if (json === undefined) throw new StartupError(`${file} is missing: not a model directory`);
  return parseShape(json, name, file);
}

/** The shape of the preset of that name in any case, or undefined. */
export function presetShape(name: string): ModelShape | undefined {
  const preset = findPreset(name);
  return preset && parseShape(preset.config, preset.name, `preset ${preset.name}`);
}

/** A model's config.json, as {@link loadShape} and {@link presetShape} read it. */
export interface ModelConfig {
  readonly json: unknown;
  /** What error messages call it. */
  readonly file: string;
}

/** The declarations of the model in a directory or preset; undefined where the server has none. */
export function declaredModel({ json, file }: ModelConfig): Model | undefined {
  return runnableModel(json, file) ?? runnableModel(textConfig(json), file);
}

/** The config.json of the preset of that name in any case, or undefined. */
export function presetConfig(name: string): ModelConfig | undefined {
  const preset = findPreset(name);
  return preset && { json: preset.config, file: `preset ${preset.name}` };
}

/** The config.json among a model's files. @throws {StartupError} where it is no JSON. */
export function modelConfig(files: ModelFiles): ModelConfig {
  return { json: readModelJson(files, "config.json"), file: modelFile(files, "config.json") };
}

/**
 * The shape that the parsed content of a config.json describes: as its family declares it, or in
 * the fields that most families share, without weights, where the server cannot run it. A model of
 * several modalities is planned for by its `text_config`.
 *
 * @param file what error messages call it.
 * @throws {StartupError} as {@link loadShape}.
 */
export function parseShape(json: unknown, name: string, file = "config.json"): ModelShape {
  const model = declaredModel({ json, file });
  if (model !== undefined) return declaredShape(model, name);
  return parseGenericShape(textConfig(json), name, file);
}

/** What a family's declarations say of sizes. */
function declaredShape(model: Model, name: string): ModelShape {
  const weights = model.weights.map((spec): WeightShape => {
    const { numOutputs, rowsPerOutput, columns } = weightShape(spec);
    const { isVocabulary = false, keepsType = false } = spec;
    const size = { rows: numOutputs * rowsPerOutput, columns };
    return { ...size, isVector: isVector(spec), isVocabulary, keepsType };
  });
  return { name, maxModelLen: model.maxPositionEmbeddings, caches: model.caches, weights };
}

/** The model, where its family is known and takes all of its fields. */
function runnableModel(json: unknown, file: string): Model | undefined {
  const isKnown = isObject(json) && "model_type" in json &&
    [...KNOWN_MODEL_TYPES, ...TEXT_PART_MODEL_TYPES].some((type) => type === json.model_type);
  if (!isKnown) return undefined;
  try {
    return parseModel(json, file);
  } catch (error) {
    if (error instanceof StartupError) return undefined;
    throw error;
  }
}

function textConfig(json: unknown): unknown {
  if (!isObject(json) || "num_hidden_layers" in json) return json;
  return "text_config" in json ? json.text_config : json;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
