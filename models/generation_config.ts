import { z } from "zod";
import {
  modelFile,
  type ModelFiles,
  parseModelJson,
  readModelJson,
} from "../src/core/model_json.ts";

/** Sampling defaults that a model's makers recommend; absent fields have none. */
export interface GenerationConfig {
  /** Tokens that end an answer; empty when the file does not say. */
  readonly eosTokenIds: readonly number[];
  /** 0 where the makers recommend greedy decoding (`"do_sample": false`). */
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly repetitionPenalty?: number;
}

const TokenId = z.int().min(0).max(1_048_575);

const GenerationConfigJson = z.object({
  eos_token_id: z.union([TokenId, z.array(TokenId).max(64)]).nullish(),
  do_sample: z.boolean().nullish(),
  temperature: z.number().min(0).max(100).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.int().min(0).max(1_048_576).nullish(),
  repetition_penalty: z.number().min(0.01).max(100).nullish(),
});

/**
 * Reads a model's `generation_config.json`; a model without one recommends nothing.
 *
 * @throws {StartupError} naming the file, the field and its value.
 */
export function loadGenerationConfig(files: ModelFiles): GenerationConfig {
  const json = readModelJson(files, "generation_config.json");
  if (json === undefined) return Object.freeze({ eosTokenIds: [] });
  const file = modelFile(files, "generation_config.json");
  const fields = parseModelJson(GenerationConfigJson, json, file);
  const eos = fields.eos_token_id ?? [];
  const temperature = fields.do_sample === false ? 0 : fields.temperature;
  return Object.freeze({
    eosTokenIds: Object.freeze([...new Set(typeof eos === "number" ? [eos] : eos)]),
    ...(temperature == null ? {} : { temperature }),
    ...(fields.top_p == null ? {} : { topP: fields.top_p }),
    ...(fields.top_k == null ? {} : { topK: fields.top_k }),
    ...(fields.repetition_penalty == null ? {} : { repetitionPenalty: fields.repetition_penalty }),
  });
}
