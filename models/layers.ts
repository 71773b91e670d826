import { embedTokensCalls } from "../kernels/weights/embed_tokens.ts";
import type { AttentionLayer } from "../kernels/kv/attention_layer.ts";
import { pagedAttentionCalls } from "../kernels/attention/paged_attention.ts";
import { normProductCalls, productCalls } from "../kernels/matmul/product.ts";
import { ropeStoreKvCall } from "../kernels/kv/rope_store_kv.ts";
import { invariant } from "../src/base/invariant.ts";
import type { DeviceBuffer } from "../src/device/kernel.ts";
import type { DecoderSizes } from "./config_fields.ts";
import type { Block } from "./decoder.ts";
import type { AttentionHeads, GraphInputs, WeightSpec } from "./model.ts";

/** `hidden = embed(tokens)`: f32 [T, E], the residual stream. */
export function embedding(
  { vocabSize: V, hiddenSize: E }: Pick<DecoderSizes, "vocabSize" | "hiddenSize">,
): Block {
  return {
    weights: [{ name: "embed", tensors: ["model.embed_tokens.weight"], shapes: [[V, E]] }],
    buffers: { hidden: { per: "token", words: E } },
    calls: (inputs) => {
      const embed = inputs.weight("embed");
      return embedTokensCalls({ V, E, dtype: embed.dtype }, {
        step: inputs.activations.step,
        w: embed.shards,
        out: declared(inputs, "hidden"),
      });
    },
  };
}

/** The block of grouped-query attention of one layer. */
export interface AttentionOptions extends AttentionHeads {
  readonly layer: number;
  readonly hiddenSize: number;
  readonly rmsNormEps: number;
  /** The position table by which queries and keys are rotated. */
  readonly rope: string;
  /** Whether each head's queries and keys are RMS-normalized before they are rotated. */
  readonly normalizesHeads?: boolean;
}

/** `hidden += o(attention(rope(qkv(norm(hidden)))))` (GQA: Ainslie 2023, arXiv:2305.13245). */
export function attention(options: AttentionOptions): Block {
  const { layer, hiddenSize: E, numHeads: H, numKvHeads: G, headDim: D } = options;
  const { normalizesHeads = false, rmsNormEps: eps } = options;
  const [queries, keys] = [H * D, G * D];
  const name = (part: string) => `${layer}.${part}`;
  return {
    heads: { numHeads: H, numKvHeads: G, headDim: D },
    cache: { kind: "full", numKvHeads: G, headDim: D },
    weights: [
      layerWeight(layer, "attention_norm", [["input_layernorm", [E]]]),
      layerWeight(layer, "qkv", [
        ["self_attn.q_proj", [queries, E]],
        ["self_attn.k_proj", [keys, E]],
        ["self_attn.v_proj", [keys, E]],
      ]),
      ...normalizesHeads
        ? [layerWeight(layer, "head_norms", [
          ["self_attn.q_norm", [D]],
          ["self_attn.k_norm", [D]],
        ])]
        : [],
      layerWeight(layer, "o", [["self_attn.o_proj", [E, queries]]]),
    ],
    buffers: {
      normed: { per: "token", words: E },
      qkv: { per: "token", words: queries + 2 * keys },
      attended: { per: "token", words: queries },
    },
    calls: (inputs) => {
      const { activations: { step, partials, stats, codes, scales }, tuning, weight } = inputs;
      const [project, output] = [weight(name("qkv")), weight(name("o"))];
      const [rope, qkv] = [declared(inputs, options.rope), declared(inputs, "qkv")];
      const attended = declared(inputs, "attended");
      const { kv, shape } = layerKv(inputs, options);
      const norms = normalizesHeads ? vector(inputs, name("head_norms")) : undefined;
      return [
        ...normProductCalls(
          { label: "qkv", rows: "tokens", n: queries + 2 * keys, k: E, dtype: project.dtype, eps },
          { ...normed(inputs, name("attention_norm")), w: project.shards, y: qkv },
          tuning,
        ),
        ropeStoreKvCall(
          norms === undefined ? shape : { ...shape, NORM_EPS: eps },
          { step, rope, qkv, kv, norms },
        ),
        ...pagedAttentionCalls(shape, { step, qkv, kv, partials, stats, out: attended }, tuning),
        ...productCalls(
          { label: "o", rows: "tokens", n: E, k: queries, dtype: output.dtype, epilogue: "add" },
          { step, x: attended, codes, scales, w: output.shards, y: declared(inputs, "hidden") },
          tuning,
        ),
      ];
    },
  };
}

/** The block of a gated feed-forward layer. */
export interface FeedForwardOptions {
  readonly layer: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly rmsNormEps: number;
}

/** `hidden += down(silu(gate(x)) * up(x))` of `x = norm(hidden)` (Shazeer 2020, 2002.05202). */
export function feedForward(
  { layer, hiddenSize: E, intermediateSize: I, rmsNormEps: eps }: FeedForwardOptions,
): Block {
  return {
    weights: [
      layerWeight(layer, "mlp_norm", [["post_attention_layernorm", [E]]]),
      {
        ...layerWeight(layer, "gate_up", [["mlp.gate_proj", [I, E]], ["mlp.up_proj", [I, E]]]),
        isPaired: true,
      },
      layerWeight(layer, "down", [["mlp.down_proj", [E, I]]]),
    ],
    buffers: { normed: { per: "token", words: E }, inner: { per: "token", words: I } },
    calls: (inputs) => {
      const { activations: { step, codes, scales }, tuning, weight } = inputs;
      const [gateUp, down] = [weight(`${layer}.gate_up`), weight(`${layer}.down`)];
      const gate = { n: I, k: E, dtype: gateUp.dtype, epilogue: "silu", eps } as const;
      const inner = declared(inputs, "inner");
      return [
        ...normProductCalls(
          { label: "gate_up", rows: "tokens", ...gate },
          { ...normed(inputs, `${layer}.mlp_norm`), w: gateUp.shards, y: inner },
          tuning,
        ),
        ...productCalls(
          { label: "down", rows: "tokens", n: E, k: I, dtype: down.dtype, epilogue: "add" },
          { step, x: inner, codes, scales, w: down.shards, y: declared(inputs, "hidden") },
          tuning,
        ),
      ];
    },
  };
}

/** `logits = head(norm(hidden))`, on the rows that are drawn from. */
export function head(
  { vocabSize: V, hiddenSize: E, rmsNormEps: eps, tieWordEmbeddings }: Pick<
    DecoderSizes,
    "vocabSize" | "hiddenSize" | "rmsNormEps" | "tieWordEmbeddings"
  >,
): Block {
  const name = tieWordEmbeddings ? "embed" : "head";
  return {
    weights: [
      { name: "norm", tensors: ["model.norm.weight"], shapes: [[E]] },
      ...tieWordEmbeddings ? [] : [{ name, tensors: [HEAD_TENSOR], shapes: [[V, E]] }],
    ],
    buffers: { last: { per: "draw", words: E } },
    calls: (inputs) => {
      const { weight, activations, tuning } = inputs;
      const { dtype, shards } = weight(name);
      return normProductCalls(
        { label: "head", rows: "samples", n: V, k: E, dtype, eps },
        { ...normed(inputs, "norm", "last"), w: shards, y: activations.logits },
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

function layerWeight(
  layer: number,
  name: string,
  stacked: readonly (readonly [tensor: string, shape: readonly number[]])[],
): WeightSpec {
  return {
    name: `${layer}.${name}`,
    tensors: stacked.map(([tensor]) => `model.layers.${layer}.${tensor}.weight`),
    shapes: stacked.map(([, shape]) => shape),
  };
}

/** The layer's KV: its buffer, and how heads lie in it. */
function layerKv(
  { kv }: GraphInputs,
  { layer, numHeads: H }: AttentionOptions,
): { kv: DeviceBuffer; shape: AttentionLayer } {
  const { buffer, shape } = kv[layer]!;
  return { kv: buffer, shape: { H, ...shape } };
}

/** A buffer or position table that the model declares. */
function declared({ activations }: GraphInputs, name: string): DeviceBuffer {
  const buffer = activations.declared[name];
  invariant(buffer !== undefined, `the model declares no buffer ${name}`);
  return buffer;
}

/** Vectors are never cut. */
function vector({ weight }: GraphInputs, name: string): DeviceBuffer {
  return weight(name).shards[0]!.buffer;
}

/** The residual stream on its way through a norm; `into` holds the rows where that is not fused. */
function normed(inputs: GraphInputs, norm: string, into: "normed" | "last" = "normed") {
  const { step, codes, scales } = inputs.activations;
  const rows = { x: declared(inputs, "hidden"), normed: declared(inputs, into) };
  return { step, codes, scales, ...rows, norm: vector(inputs, norm) };
}
