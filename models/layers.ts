import type { Activation } from "../kernels/matmul/epilogue.ts";
import { normProductCalls } from "../kernels/matmul/product.ts";
import { normPartsCall } from "../kernels/norm/norm_parts.ts";
import { poolRowsCall } from "../kernels/norm/pool_rows.ts";
import { embedTokensCalls } from "../kernels/weights/embed_tokens.ts";
import type { DecoderSizes } from "./config_fields.ts";
import type { LmHead, Sublayer } from "./decoder.ts";
import type { WeightSpec } from "./model.ts";
import {
  addCalls,
  declared,
  layerWeight,
  readCalls,
  residualParts,
  type ResidualSublayer,
  type SublayerNorms,
  type SublayerOptions,
  vector,
} from "./residual.ts";

export { attention, type AttentionOptions } from "./attention.ts";

/** `hidden = scale * embed(tokens)`: f32 [T, E], the residual stream; the scale is 1 by default. */
export function embedding(
  { vocabSize: V, hiddenSize: E }: Pick<DecoderSizes, "vocabSize" | "hiddenSize">,
  { scale = 1 }: { readonly scale?: number } = {},
): Sublayer {
  return {
    weights: [{
      ...{ name: "embed", tensors: ["model.embed_tokens.weight"], shapes: [[V, E]] },
      isVocabulary: true,
    }],
    buffers: { hidden: { per: "token", words: E } },
    calls: (inputs) => {
      const embed = inputs.weight("embed");
      return embedTokensCalls({ V, E, dtype: embed.dtype, scale }, {
        step: inputs.activations.step,
        w: embed.shards,
        out: declared(inputs, "hidden"),
      });
    },
  };
}

/** The sublayer of a gated feed-forward layer. */
export interface FeedForwardOptions extends SublayerOptions {
  readonly intermediateSize: number;
  /** What gates go through; SiLU unless given. */
  readonly activation?: Activation;
  /** One before, `post_attention_layernorm`, unless given. */
  readonly norms?: SublayerNorms;
  /** Whether gates and ups are one tensor, `gate_up_proj` (Phi-3). */
  readonly isFused?: boolean;
  /** Whether gates, ups and the output have biases; not where gates and ups are one tensor. */
  readonly hasBiases?: boolean;
}

/** `hidden += down(silu(gate(x)) * up(x))` of `x = norm(hidden)` (Shazeer 2020, 2002.05202). */
export function feedForward(options: FeedForwardOptions): Sublayer {
  const { intermediateSize: I, activation = "silu", hasBiases = false } = options;
  const { norms = { before: "post_attention_layernorm" } } = options;
  const sublayer: ResidualSublayer = { ...options, kind: "mlp", norms };
  const { before, after, buffers } = residualParts(sublayer);
  const biasOf = (name: string) => hasBiases ? `${name}_bias` : undefined;
  return {
    weights: [...before, ...feedForwardWeights(options), ...after],
    buffers: { ...buffers, inner: { per: "token", words: I } },
    calls: (inputs) => {
      const inner = declared(inputs, "inner");
      const gate = { name: "gate_up", bias: biasOf("gate_up"), n: I, epilogue: activation };
      const down = { name: "down", bias: biasOf("down"), k: I };
      return [
        ...readCalls(inputs, sublayer, gate, inner),
        ...addCalls(inputs, sublayer, down, inner),
      ];
    },
  };
}

function feedForwardWeights(
  { layer, hiddenSize: E, intermediateSize: I, isFused, hasBiases = false }: FeedForwardOptions,
): WeightSpec[] {
  const gateUp = (shape: readonly number[]) =>
    [["mlp.gate_proj", shape], ["mlp.up_proj", shape]] as const;
  const matrices = isFused ? [["mlp.gate_up_proj", [2 * I, E]]] as const : gateUp([I, E]);
  return [
    { ...layerWeight(layer, "gate_up", matrices), isGateUp: true },
    ...hasBiases ? [layerWeight(layer, "gate_up_bias", gateUp([I]), "bias")] : [],
    layerWeight(layer, "down", [["mlp.down_proj", [E, I]]]),
    ...hasBiases ? [layerWeight(layer, "down_bias", [["mlp.down_proj", [E]]], "bias")] : [],
  ];
}

/** How a head makes logits of the last hidden states. */
export interface LmHeadOptions
  extends Pick<DecoderSizes, "vocabSize" | "hiddenSize" | "rmsNormEps" | "tieWordEmbeddings"> {
  /** Added to the norm's weights: 1 where a checkpoint has `w - 1`. */
  readonly normAddend?: number;
  /** Multiplies logits (Granite); 1 unless given. */
  readonly logitScale?: number;
  /** Soft cap of logits (Gemma 2): `c tanh(l / c)`, before anything is drawn or reported. */
  readonly softCap?: number | undefined;
}

/** `logits = lm_head(norm(hidden))`, on the rows that are drawn from. */
export function lmHead(options: LmHeadOptions): LmHead {
  const { vocabSize: V, hiddenSize: E, rmsNormEps: eps, tieWordEmbeddings } = options;
  const { normAddend, logitScale = 1, softCap } = options;
  const name = tieWordEmbeddings ? "embed" : "head";
  const norm = { name: "norm", tensors: ["model.norm.weight"], shapes: [[E]] };
  return {
    weights: [
      normAddend === undefined ? norm : { ...norm, addend: normAddend },
      ...tieWordEmbeddings
        ? []
        : [{ name, tensors: [HEAD_TENSOR], shapes: [[V, E]], isVocabulary: true }],
    ],
    buffers: { last: { per: "draw", words: E } },
    calls: (inputs) => {
      const { weight, activations: { step, codes, scales, logits: y }, tuning } = inputs;
      const { dtype, shards: w } = weight(name);
      const rows = { x: declared(inputs, "hidden"), normed: declared(inputs, "last") };
      const product = { label: "head", rows: "draws", n: V, k: E, dtype, eps } as const;
      return normProductCalls(
        { ...product, scale: logitScale, softCap },
        { step, codes, scales, ...rows, norm: vector(inputs, "norm"), w, y },
        tuning,
      );
    },
    hiddenSize: E,
    poolings: (inputs) => {
      const { activations: { step }, tuning: { normLanes: lanes } } = inputs;
      const rows = declared(inputs, "hidden");
      const weight = vector(inputs, "norm");
      const norm = { label: "norm", lengths: [E], stride: E, eps, lanes } as const;
      const out = declared(inputs, "last");
      return [
        normPartsCall(norm, { step, weight, rows }),
        poolRowsCall({ e: E, lanes }, { step, x: rows, out }),
      ];
    },
  };
}

const HEAD_TENSOR = "lm_head.weight";
/** Makes the score of a classifier of the last hidden state: [labels, E]. */
export const SCORE_TENSOR = "score.weight";

/** What checkpoints of a model may carry beside its weights: a tied model's output projection. */
export function ignoredTensors(
  { tieWordEmbeddings }: Pick<DecoderSizes, "tieWordEmbeddings">,
): readonly string[] {
  return tieWordEmbeddings ? [HEAD_TENSOR] : [];
}
