import { z } from "zod";
import { StartupError } from "../src/core/errors.ts";
import {
  modelFile,
  type ModelFiles,
  parseModelJson,
  readModelJson,
} from "../src/core/model_json.ts";
import { gemma2 } from "./gemma2.ts";
import { gemma3 } from "./gemma3.ts";
import { gptOss } from "./gpt_oss.ts";
import { granite } from "./granite.ts";
import { llama } from "./llama.ts";
import type { Model, ModelFamily } from "./model.ts";
import { ministral3 } from "./ministral3.ts";
import { ministral, mistral } from "./mistral.ts";
import { olmo2 } from "./olmo2.ts";
import { olmo3 } from "./olmo3.ts";
import { olmoe } from "./olmoe.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { qwen3Moe } from "./qwen3_moe.ts";
import { smollm3 } from "./smollm3.ts";
import { textPartOf } from "./text_part.ts";

/** The families by the `model_type` of their config.json. */
const FAMILIES: ReadonlyMap<string, ModelFamily> = new Map([
  ["llama", llama],
  ["gemma2", gemma2],
  ["gemma3_text", gemma3],
  ["gpt_oss", gptOss],
  ["granite", granite],
  ["ministral", ministral],
  ["ministral3", ministral3],
  ["mistral", mistral],
  ["olmo2", olmo2],
  ["olmo3", olmo3],
  ["olmoe", olmoe],
  ["phi3", phi3],
  ["qwen2", qwen2],
  ["qwen3", qwen3],
  ["qwen3_moe", qwen3Moe],
  ["smollm3", smollm3],
]);

/** Values of `model_type` in config.json for which there is model code. */
export const KNOWN_MODEL_TYPES: readonly string[] = [...FAMILIES.keys()];

/** The text model of a checkpoint of several modalities. */
interface TextModel {
  /** Its `model_type` in checkpoints of text alone, unless `text_config` says another known one. */
  readonly modelType: string;
  /** What files leave out that have it at the family's defaults. */
  readonly defaults?: Readonly<Record<string, unknown>>;
}

/** Checkpoints of several modalities, by `model_type`: their text models are served. */
const TEXT_MODELS: ReadonlyMap<string, TextModel> = new Map([
  ["gemma3", {
    modelType: "gemma3_text",
    defaults: {
      num_attention_heads: 8,
      num_key_value_heads: 4,
      vocab_size: 262_208,
      max_position_embeddings: 131_072,
    },
  }],
  ["mistral3", { modelType: "mistral" }],
  ["qwen2_vl", { modelType: "qwen2" }],
  ["qwen2_5_vl", { modelType: "qwen2" }],
  ["qwen3_vl", { modelType: "qwen3" }],
]);

/** Values of `model_type` of several modalities whose text model is served. */
export const TEXT_PART_MODEL_TYPES: readonly string[] = [...TEXT_MODELS.keys()];

const ModelTypeJson = z.object({
  model_type: z.string(),
  text_config: z.object({ model_type: z.string().optional() }).nullish().catch(undefined),
});

/**
 * Reads and checks a model's `config.json`.
 *
 * @throws {StartupError} naming the file, the field, its value and what it must be.
 */
export function readModel(files: ModelFiles): Model {
  const file = modelFile(files, "config.json");
  const json = readModelJson(files, "config.json");
  if (json === undefined) throw new StartupError(`${file} is missing: not a model directory`);
  return parseModel(json, file);
}

/**
 * The model that the parsed content of a config.json describes.
 *
 * @param file what error messages call it.
 * @throws {StartupError} as {@link readModel}.
 */
export function parseModel(json: unknown, file = "config.json"): Model {
  const { model_type: modelType, text_config: text } = parseModelJson(ModelTypeJson, json, file);
  const family = FAMILIES.get(modelType);
  const part = TEXT_MODELS.get(modelType);
  if (part !== undefined) {
    return parseTextPart(json, file, { modelType, part, textType: text?.model_type });
  }
  if (text?.model_type !== undefined && FAMILIES.has(text.model_type)) {
    throw new StartupError(
      `${file}: model_type is ${JSON.stringify(modelType)}, of several modalities, which are not ` +
        `supported; its text model alone, ${JSON.stringify(text.model_type)}, would be`,
    );
  }
  if (family !== undefined) return family(json, file);
  throw new StartupError(
    `${file}: model_type is ${JSON.stringify(modelType)}: known are ${
      KNOWN_MODEL_TYPES.join(", ")
    }, and the text models of ${TEXT_PART_MODEL_TYPES.join(", ")}`,
  );
}

/** The text model of a checkpoint of several modalities, which bears the checkpoint's type. */
function parseTextPart(
  json: unknown,
  file: string,
  { modelType, part, textType }: {
    readonly modelType: string;
    readonly part: TextModel;
    readonly textType: string | undefined;
  },
): Model {
  const isOwn = textType === undefined || textType === `${modelType}_text`;
  const familyType = isOwn ? part.modelType : textType;
  const family = FAMILIES.get(familyType);
  if (family === undefined) {
    throw new StartupError(
      `${file}: field "text_config.model_type" is ${JSON.stringify(textType)}: known are ${
        KNOWN_MODEL_TYPES.join(", ")
      }`,
    );
  }
  const text = textPartOf(json, file, { ...part, modelType: familyType });
  const model = family(text.json, text.file);
  const warning = `${file}: model_type is ${JSON.stringify(modelType)}, of several modalities: ` +
    `its text model is served, and images are refused`;
  return Object.freeze({
    ...model,
    modelType,
    isTextPart: true,
    warnings: [warning, ...model.warnings],
  });
}
