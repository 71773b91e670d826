import type { Activation } from "../kernels/matmul/epilogue.ts";
import { embedTokensCalls } from "../kernels/weights/embed_tokens.ts";
import type { AttentionLayer } from "../kernels/kv/attention_layer.ts";
import { pagedAttentionCalls } from "../kernels/attention/paged_attention.ts";
import { normPartsCall } from "../kernels/norm/norm_parts.ts";
import { normProductCalls } from "../kernels/matmul/product.ts";
import { ropeStoreKvCall } from "../kernels/kv/rope_store_kv.ts";
import type { StepDims } from "../kernels/step.ts";
import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";
import type { DecoderSizes } from "./config_fields.ts";
import type { Block } from "./decoder.ts";
import type { AttentionHeads, GraphInputs, WeightSpec } from "./model.ts";
import {
  addCalls,
  type BlockNorms,
  type BlockOptions,
  declared,
  layerNorm,
  layerWeight,
  readCalls,
  type ResidualBlock,
  residualParts,
  vector,
} from "./residual.ts";

/** `hidden = scale * embed(tokens)`: f32 [T, E], the residual stream; the scale is 1 by default. */
export function embedding(
  { vocabSize: V, hiddenSize: E }: Pick<DecoderSizes, "vocabSize" | "hiddenSize">,
  { scale = 1 }: { readonly scale?: number } = {},
): Block {
  return {
    weights: [{ name: "embed", tensors: ["model.embed_tokens.weight"], shapes: [[V, E]] }],
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

/** The block of grouped-query attention of one layer. */
export interface AttentionOptions extends AttentionHeads, BlockOptions {
  /** The position table by which queries and keys are rotated. */
  readonly rope: string;
  /** One before, `input_layernorm`, unless given. */
  readonly norms?: BlockNorms;
  /**
   * What is RMS-normalized of queries and of keys before they are rotated: each head (Qwen3), or
   * all heads of a row together (OLMo 2).
   */
  readonly normalizes?: "heads" | "rows";
  /** Whether queries, keys and values have biases. */
  readonly hasBiases?: boolean;
  /** Whether the output has biases. */
  readonly hasOutputBias?: boolean;
}

/** `hidden += o(attention(rope(qkv(norm(hidden)))))` (GQA: Ainslie 2023, arXiv:2305.13245). */
export function attention(options: AttentionOptions): Block {
  const { numHeads: H, numKvHeads: G, headDim: D } = options;
  const { norms = { before: "input_layernorm" } } = options;
  const block: ResidualBlock = { ...options, block: "attention", norms };
  const [queries, keys] = [H * D, G * D];
  const { before, after, buffers } = residualParts(block);
  return {
    heads: { numHeads: H, numKvHeads: G, headDim: D },
    cache: { kind: "full", numKvHeads: G, headDim: D },
    weights: [...before, ...attentionWeights(options), ...after],
    buffers: {
      ...buffers,
      qkv: { per: "token", words: queries + 2 * keys },
      attended: { per: "token", words: queries },
    },
    calls: (inputs) => {
      const { activations: { step, partials, stats }, tuning } = inputs;
      const [qkv, attended] = [declared(inputs, "qkv"), declared(inputs, "attended")];
      const { kv, shape } = layerKv(inputs, options);
      const project = { name: "qkv", bias: options.hasBiases ? "qkv_bias" : undefined };
      const output = { name: "o", bias: options.hasOutputBias ? "o_bias" : undefined };
      return [
        ...readCalls(inputs, block, { ...project, n: queries + 2 * keys }, qkv),
        ...positionCalls(inputs, options),
        ...pagedAttentionCalls(shape, { step, qkv, kv, partials, stats, out: attended }, tuning),
        ...addCalls(inputs, block, { ...output, k: queries }, attended),
      ];
    },
  };
}

function attentionWeights(
  { layer, hiddenSize: E, numHeads: H, numKvHeads: G, headDim: D, ...options }: AttentionOptions,
): WeightSpec[] {
  const { normalizes, normAddend, hasBiases, hasOutputBias } = options;
  const [queries, keys] = [H * D, G * D];
  const [q, k] = normalizes === "rows" ? [queries, keys] : [D, D];
  const projections = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"] as const;
  const widths = [queries, keys, keys];
  const stacked = (...inputs: number[]) =>
    projections.map((tensor, i) => [tensor, [widths[i]!, ...inputs]] as const);
  const norms = [["self_attn.q_norm", [q]], ["self_attn.k_norm", [k]]] as const;
  return [
    layerWeight(layer, "qkv", stacked(E)),
    ...hasBiases ? [layerWeight(layer, "qkv_bias", stacked(), "bias")] : [],
    ...normalizes === undefined ? [] : [layerNorm(layer, "head_norms", norms, normAddend)],
    layerWeight(layer, "o", [["self_attn.o_proj", [E, queries]]]),
    ...hasOutputBias ? [layerWeight(layer, "o_bias", [["self_attn.o_proj", [E]]], "bias")] : [],
  ];
}

/** Normalizes queries and keys where asked, rotates them, and stores keys and values. */
function positionCalls(inputs: GraphInputs, options: AttentionOptions): KernelCall<StepDims>[] {
  const { layer, rmsNormEps: eps, numHeads: H, numKvHeads: G, headDim: D } = options;
  const { activations: { step }, tuning } = inputs;
  const [rope, qkv] = [declared(inputs, options.rope), declared(inputs, "qkv")];
  const { kv, shape } = layerKv(inputs, options);
  const norms = options.normalizes === undefined
    ? undefined
    : vector(inputs, `${layer}.head_norms`);
  if (options.normalizes !== "rows" || norms === undefined) {
    const own = norms === undefined ? shape : { ...shape, NORM_EPS: eps };
    return [ropeStoreKvCall(own, { step, rope, qkv, kv, norms })];
  }
  const lengths = [H * D, G * D] as const;
  return [
    normPartsCall(
      { lengths, stride: (H + 2 * G) * D, eps, lanes: tuning.normLanes },
      { step, weight: norms, rows: qkv },
    ),
    ropeStoreKvCall(shape, { step, rope, qkv, kv }),
  ];
}

/** The block of a gated feed-forward layer. */
export interface FeedForwardOptions extends BlockOptions {
  readonly intermediateSize: number;
  /** What gates go through; SiLU unless given. */
  readonly activation?: Activation;
  /** One before, `post_attention_layernorm`, unless given. */
  readonly norms?: BlockNorms;
  /** Whether gates, ups and the output have biases. */
  readonly hasBiases?: boolean;
}

/** `hidden += down(silu(gate(x)) * up(x))` of `x = norm(hidden)` (Shazeer 2020, 2002.05202). */
export function feedForward(options: FeedForwardOptions): Block {
  const { intermediateSize: I, activation = "silu", hasBiases = false } = options;
  const { norms = { before: "post_attention_layernorm" } } = options;
  const block: ResidualBlock = { ...options, block: "mlp", norms };
  const { before, after, buffers } = residualParts(block);
  const biasOf = (name: string) => hasBiases ? `${name}_bias` : undefined;
  return {
    weights: [...before, ...feedForwardWeights(options), ...after],
    buffers: { ...buffers, inner: { per: "token", words: I } },
    calls: (inputs) => {
      const inner = declared(inputs, "inner");
      const gate = { name: "gate_up", bias: biasOf("gate_up"), n: I, epilogue: activation };
      const down = { name: "down", bias: biasOf("down"), k: I };
      return [
        ...readCalls(inputs, block, gate, inner),
        ...addCalls(inputs, block, down, inner),
      ];
    },
  };
}

function feedForwardWeights(
  { layer, hiddenSize: E, intermediateSize: I, hasBiases = false }: FeedForwardOptions,
): WeightSpec[] {
  const gateUp = (shape: readonly number[]) =>
    [["mlp.gate_proj", shape], ["mlp.up_proj", shape]] as const;
  return [
    { ...layerWeight(layer, "gate_up", gateUp([I, E])), isPaired: true },
    ...hasBiases ? [layerWeight(layer, "gate_up_bias", gateUp([I]), "bias")] : [],
    layerWeight(layer, "down", [["mlp.down_proj", [E, I]]]),
    ...hasBiases ? [layerWeight(layer, "down_bias", [["mlp.down_proj", [E]]], "bias")] : [],
  ];
}

/** How a head makes logits of the last hidden states. */
export interface HeadOptions
  extends Pick<DecoderSizes, "vocabSize" | "hiddenSize" | "rmsNormEps" | "tieWordEmbeddings"> {
  /** Added to the norm's weights: 1 where a checkpoint has `w - 1`. */
  readonly normAddend?: number;
  /** Multiplies logits (Granite); 1 unless given. */
  readonly logitScale?: number;
  /** Soft cap of logits (Gemma 2): `c tanh(l / c)`, before anything is drawn or reported. */
  readonly softCap?: number | undefined;
}

/** `logits = head(norm(hidden))`, on the rows that are drawn from. */
export function head(options: HeadOptions): Block {
  const { vocabSize: V, hiddenSize: E, rmsNormEps: eps, tieWordEmbeddings } = options;
  const { normAddend, logitScale = 1, softCap } = options;
  const name = tieWordEmbeddings ? "embed" : "head";
  const norm = { name: "norm", tensors: ["model.norm.weight"], shapes: [[E]] };
  return {
    weights: [
      normAddend === undefined ? norm : { ...norm, addend: normAddend },
      ...tieWordEmbeddings ? [] : [{ name, tensors: [HEAD_TENSOR], shapes: [[V, E]] }],
    ],
    buffers: { last: { per: "draw", words: E } },
    calls: (inputs) => {
      const { weight, activations: { step, codes, scales, logits: y }, tuning } = inputs;
      const { dtype, shards: w } = weight(name);
      const rows = { x: declared(inputs, "hidden"), normed: declared(inputs, "last") };
      const product = { label: "head", rows: "samples", n: V, k: E, dtype, eps } as const;
      return normProductCalls(
        { ...product, scale: logitScale, softCap },
        { step, codes, scales, ...rows, norm: vector(inputs, "norm"), w, y },
        tuning,
      );
    },
  };
}

const HEAD_TENSOR = "lm_head.weight";

/** What checkpoints of a model may carry beside its weights: a tied model's output projection. */
export function ignoredTensors(
  { tieWordEmbeddings }: Pick<DecoderSizes, "tieWordEmbeddings">,
): readonly string[] {
  return tieWordEmbeddings ? [HEAD_TENSOR] : [];
}

/** The layer's KV: its buffer, and how heads lie in it. */
function layerKv(
  { kv }: GraphInputs,
  { layer, numHeads: H }: AttentionOptions,
): { kv: DeviceBuffer; shape: AttentionLayer } {
  const { buffer, shape } = kv[layer]!;
  return { kv: buffer, shape: { H, ...shape } };
}
