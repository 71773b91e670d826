import { z } from "zod";
import { DECODER_FIELDS, type DecoderSizes, off, oneOf } from "./config_fields.ts";
import type { LmHead, Sublayer } from "./decoder.ts";
import { DEFAULT_WINDOW, layerTypes, layerWindows, WINDOW_FIELDS } from "./layer_windows.ts";
import {
  attention,
  type AttentionOptions,
  embedding,
  feedForward,
  lmHead,
  type LmHeadOptions,
} from "./layers.ts";

/** Fields that Gemma 2 and later have alike, with the defaults of their makers. */
export const GEMMA_FIELDS = {
  ...DECODER_FIELDS,
  ...WINDOW_FIELDS,
  head_dim: DECODER_FIELDS.head_dim.default(256),
  tie_word_embeddings: z.boolean().default(true),
  /** Read in place of `hidden_act`, which files carry besides and may say another. */
  hidden_activation: oneOf("gelu_pytorch_tanh", "gelu", "silu"),
  query_pre_attn_scalar: z.number().gt(0).max(65_536).default(256),
  sliding_window: WINDOW_FIELDS.sliding_window.default(DEFAULT_WINDOW),
  attention_bias: off("biases are"),
  use_bidirectional_attention: off("bidirectional attention is"),
};

/** A soft cap of scores or logits; null for none. */
export const SoftCap = z.number().gt(0).max(65_536).nullable();

const GemmaJson = z.object(GEMMA_FIELDS);
type GemmaFields = z.output<typeof GemmaJson>;

/** The window of each layer, as `layer_types` has it or else as `slides` decides. */
export function gemmaWindows(
  fields: GemmaFields,
  slides: (layer: number) => boolean,
  file: string,
): readonly (number | undefined)[] {
  return layerWindows(layerTypes(fields, slides, file), fields.sliding_window, file);
}

/** `hidden = sqrt(E) embed(tokens)`. */
export function gemmaEmbedding(sizes: DecoderSizes): Sublayer {
  return embedding(sizes, { scale: Math.sqrt(sizes.hiddenSize) });
}

/** What the layers of a model differ in, and what its version has. */
type LayerOptions = Pick<AttentionOptions, "layer" | "rope" | "window" | "softCap" | "normalizes">;

/**
 * `hidden += norm(o(attention(rope(qkv(norm(hidden))))))`, and `hidden += norm(down(gelu(gate(x)) *
 * up(x)))` of `x = norm(hidden)`.
 */
export function gemmaLayer(
  fields: GemmaFields,
  sizes: DecoderSizes,
  { layer, ...options }: LayerOptions,
): Sublayer[] {
  const shared = { layer, ...sizes, normAddend: NORM_ADDEND };
  return [
    attention({
      ...shared,
      ...options,
      scale: fields.query_pre_attn_scalar ** -0.5,
      norms: { before: "input_layernorm", after: "post_attention_layernorm" },
    }),
    feedForward({
      ...shared,
      activation: ACTIVATIONS[fields.hidden_activation],
      norms: { before: "pre_feedforward_layernorm", after: "post_feedforward_layernorm" },
    }),
  ];
}

/** `logits = cap(embed^T(norm(hidden)))`. */
export function gemmaLmHead(sizes: DecoderSizes, softCap: LmHeadOptions["softCap"] | null): LmHead {
  return lmHead({ ...sizes, normAddend: NORM_ADDEND, softCap: softCap ?? undefined });
}

/** Checkpoints store the weights of all norms less one. */
const NORM_ADDEND = 1;

const ACTIVATIONS = { gelu_pytorch_tanh: "gelu_tanh", gelu: "gelu", silu: "silu" } as const;
