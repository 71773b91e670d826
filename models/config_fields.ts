import { z } from "zod";
import type { Routing } from "../kernels/experts/route_experts.ts";
import { StartupError } from "../src/core/errors.ts";
import type { AttentionHeads } from "./model.ts";

/** Positive integer up to `max`; the bounds keep every later product of sizes exact and sane. */
export const count = (max: number) => z.int().min(1).max(max);

/**
 * One of the values that a family's graph computes; another is refused with their list. Absent, it
 * is the first.
 */
export function oneOf<const Value extends string>(...known: readonly [Value, ...Value[]]) {
  return z.enum(known, `known are ${known.join(", ")}`).default(known[0]);
}

/** A switch of something that the graph cannot compute: absent, null or false. */
export function off(what: string) {
  return z.literal([false, null], `${what} not supported`).optional();
}

/**
 * Fields of the config.json of every dense decoder with grouped heads, for a family's schema:
 * `z.object({ ...DECODER_FIELDS, ... })`.
 */
export const DECODER_FIELDS = {
  hidden_size: count(65_536).multipleOf(4),
  num_hidden_layers: count(512),
  num_attention_heads: count(1024),
  num_key_value_heads: count(1024).nullish(),
  head_dim: count(512).multipleOf(4).nullish(),
  intermediate_size: count(1_048_576).multipleOf(4),
  vocab_size: count(1_048_576),
  max_position_embeddings: count(16_777_216),
  rms_norm_eps: z.number().gt(0).max(0.1).default(1e-6),
  tie_word_embeddings: z.boolean().default(false),
  architectures: z.array(z.string()).nullish().catch(undefined),
  // Some embedding models attend both ways, in a decoder's layers.
  is_causal: z.literal([true, null], "attention both ways is not supported").optional(),
  quantization_config: z.null("quantized checkpoints are not supported").optional(),
};

const DecoderJson = z.object(DECODER_FIELDS);

/** The sizes of a dense decoder; every number is within bounds and fits the others. */
export interface DecoderSizes extends AttentionHeads {
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  readonly numLayers: number;
  /** Width of the feed-forward layers. */
  readonly intermediateSize: number;
  readonly vocabSize: number;
  /** Longest context the model is made for, tokens. */
  readonly maxPositionEmbeddings: number;
  readonly rmsNormEps: number;
  /** Whether the output projection is the embedding table. */
  readonly tieWordEmbeddings: boolean;
}

/**
 * The sizes that the {@link DECODER_FIELDS} of a config.json state.
 *
 * @throws {StartupError} for heads that do not fit together, with the numbers.
 */
export function decoderSizes(fields: z.output<typeof DecoderJson>, file: string): DecoderSizes {
  const numHeads = fields.num_attention_heads;
  const numKvHeads = fields.num_key_value_heads ?? numHeads;
  if (numHeads % numKvHeads !== 0) {
    throw new StartupError(
      `${file}: field "num_attention_heads" is ${numHeads}: must be a multiple of ` +
        `"num_key_value_heads", ${numKvHeads}`,
    );
  }
  return {
    hiddenSize: fields.hidden_size,
    numLayers: fields.num_hidden_layers,
    numHeads,
    numKvHeads,
    headDim: fields.head_dim ?? impliedHeadDim(fields.hidden_size, numHeads, file),
    intermediateSize: fields.intermediate_size,
    vocabSize: fields.vocab_size,
    maxPositionEmbeddings: fields.max_position_embeddings,
    rmsNormEps: fields.rms_norm_eps,
    // A checkpoint without a head of its own generates nothing: any head does.
    tieWordEmbeddings: fields.tie_word_embeddings || lacksLmHead(fields.architectures),
  };
}

/**
 * Whether the checkpoint of these architectures has no output projection: `Qwen3Model`, which only
 * embeds, and `Qwen3ForSequenceClassification`, which only scores.
 */
export function lacksLmHead(architectures: readonly string[] | null | undefined): boolean {
  const [name] = architectures ?? [];
  return name !== undefined && /^(?!.*LMHead)\w+(Model|ForSequenceClassification)$/.test(name);
}

/** Width of a head where config.json does not say: the heads share the hidden size. */
function impliedHeadDim(hiddenSize: number, numHeads: number, file: string): number {
  const headDim = hiddenSize / numHeads;
  if (headDim % 4 !== 0 || headDim > 512) {
    throw new StartupError(
      `${file}: "hidden_size" ${hiddenSize} over "num_attention_heads" ${numHeads} gives heads of ` +
        `${headDim}: must be a multiple of 4 up to 512, or "head_dim" must say it`,
    );
  }
  return headDim;
}

/** Fields of families whose layers have experts, a router's. */
export const EXPERT_FIELDS = {
  num_experts: count(1024),
  num_experts_per_tok: count(64).default(8),
  /** Whether the weights of a token's experts add up to 1. */
  norm_topk_prob: z.boolean().default(false),
};

const ExpertJson = z.object(EXPERT_FIELDS);

/**
 * How tokens choose experts.
 *
 * @throws {StartupError} where a token would have more experts than there are.
 */
export function routing(fields: z.output<typeof ExpertJson>, file: string): Routing {
  const { num_experts: numExperts, num_experts_per_tok: topK } = fields;
  if (topK > numExperts) {
    throw new StartupError(
      `${file}: field "num_experts_per_tok" is ${topK}: must be at most "num_experts", ` +
        `${numExperts}`,
    );
  }
  return { numExperts, topK, normalizes: fields.norm_topk_prob };
}
