import { z } from "zod";
import { StartupError } from "../src/core/errors.ts";
import {
  modelFile,
  type ModelFiles,
  parseModelJson,
  readModelJson,
} from "../src/core/model_json.ts";
import { parseRope, type RopeScaling } from "./rope_config.ts";

/** Values of `model_type` in config.json for which there is model code. */
export const KNOWN_MODEL_TYPES = ["llama", "qwen3"] as const;

export type ModelType = (typeof KNOWN_MODEL_TYPES)[number];

/** A model's shape, from config.json; every number is within bounds and fits the others. */
export interface ModelConfig {
  readonly modelType: ModelType;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  readonly numLayers: number;
  /** Query heads; a multiple of `numKvHeads`. */
  readonly numHeads: number;
  readonly numKvHeads: number;
  /** Width of one head; even, since RoPE rotates pairs. */
  readonly headDim: number;
  /** Width of the MLP. */
  readonly intermediateSize: number;
  readonly vocabSize: number;
  /** Longest context the model is made for, tokens. */
  readonly maxPositionEmbeddings: number;
  /** Base of the rotary frequencies. */
  readonly ropeTheta: number;
  /** Absent: the frequencies are used as they are. */
  readonly ropeScaling?: RopeScaling;
  readonly rmsNormEps: number;
  /** Whether the output projection is the embedding table. */
  readonly tieWordEmbeddings: boolean;
  /**
   * Whether each head's queries and keys are RMS-normalized before they are rotated, as in Qwen3.
   */
  readonly normalizesHeads: boolean;
  /** Whether the attention projections have biases. */
  readonly attentionBias: boolean;
  /** Whether the MLP's projections have biases. */
  readonly mlpBias: boolean;
  /** The fields of config.json that are ignored, one sentence each; absent without any. */
  readonly warnings?: readonly string[];
}

/** Positive integer up to `max`; the bounds keep every later product of sizes exact and sane. */
const count = (max: number) => z.int().min(1).max(max);

const ConfigJson = z.object({
  hidden_size: count(65_536),
  num_hidden_layers: count(512),
  num_attention_heads: count(1024),
  num_key_value_heads: count(1024).nullish(),
  head_dim: count(512).multipleOf(2).nullish(),
  intermediate_size: count(1_048_576),
  vocab_size: count(1_048_576),
  max_position_embeddings: count(16_777_216),
  rms_norm_eps: z.number().gt(0).max(0.1).default(1e-6),
  hidden_act: z.literal("silu").default("silu"),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  quantization_config: z.null("quantized checkpoints are not supported").optional(),
  use_sliding_window: z.literal(false, "sliding windows are not supported").optional(),
});

/**
 * Reads and checks a model's `config.json`.
 *
 * @throws {StartupError} naming the file, the field, its value and what it must be.
 */
export function loadModelConfig(files: ModelFiles): ModelConfig {
  const file = modelFile(files, "config.json");
  const json = readModelJson(files, "config.json");
  if (json === undefined) throw new StartupError(`${file} is missing: not a model directory`);
  return parseModelConfig(json, file);
}

/**
 * Checks the parsed content of a config.json.
 *
 * @param file what error messages call it.
 * @throws {StartupError} as {@link loadModelConfig}.
 */
export function parseModelConfig(json: unknown, file = "config.json"): ModelConfig {
  const modelType = parseModelType(json, file);
  const fields = parseModelJson(ConfigJson, json, file);
  const numHeads = fields.num_attention_heads;
  const numKvHeads = fields.num_key_value_heads ?? numHeads;
  if (numHeads % numKvHeads !== 0) {
    throw new StartupError(
      `${file}: field "num_attention_heads" is ${numHeads}: must be a multiple of ` +
        `"num_key_value_heads", ${numKvHeads}`,
    );
  }
  const rope = parseRope(json, file);
  return Object.freeze({
    modelType,
    hiddenSize: fields.hidden_size,
    numLayers: fields.num_hidden_layers,
    numHeads,
    numKvHeads,
    headDim: fields.head_dim ?? impliedHeadDim(fields.hidden_size, numHeads, file),
    intermediateSize: fields.intermediate_size,
    vocabSize: fields.vocab_size,
    maxPositionEmbeddings: fields.max_position_embeddings,
    ropeTheta: rope.theta,
    ...(rope.scaling === undefined ? {} : { ropeScaling: rope.scaling }),
    rmsNormEps: fields.rms_norm_eps,
    tieWordEmbeddings: fields.tie_word_embeddings,
    normalizesHeads: modelType === "qwen3",
    attentionBias: fields.attention_bias,
    mlpBias: fields.mlp_bias,
    ...(rope.warnings.length === 0 ? {} : { warnings: rope.warnings }),
  });
}

function parseModelType(json: unknown, file: string): ModelType {
  const { model_type: name } = parseModelJson(z.object({ model_type: z.string() }), json, file);
  const modelType = KNOWN_MODEL_TYPES.find((known) => known === name);
  if (modelType === undefined) {
    throw new StartupError(
      `${file}: model_type is ${JSON.stringify(name)}: known are ${KNOWN_MODEL_TYPES.join(", ")}`,
    );
  }
  return modelType;
}

/** Width of a head where config.json does not say: the heads share the hidden size. */
function impliedHeadDim(hiddenSize: number, numHeads: number, file: string): number {
  const headDim = hiddenSize / numHeads;
  if (!Number.isInteger(headDim) || headDim % 2 !== 0 || headDim > 512) {
    throw new StartupError(
      `${file}: "hidden_size" ${hiddenSize} over "num_attention_heads" ${numHeads} gives heads of ` +
        `${headDim}: must be an even integer up to 512, or "head_dim" must say it`,
    );
  }
  return headDim;
}
