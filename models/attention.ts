import { pagedAttentionCalls } from "../kernels/attention/paged_attention.ts";
import type { AttentionLayer } from "../kernels/kv/attention_layer.ts";
import { ropeStoreKvCall } from "../kernels/kv/rope_store_kv.ts";
import { normPartsCall } from "../kernels/norm/norm_parts.ts";
import type { StepDims } from "../kernels/step.ts";
import { invariant } from "../src/base/invariant.ts";
import { omitUndefined } from "../src/base/omit_undefined.ts";
import type { CacheSpec } from "../src/core/cache_group.ts";
import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";
import type { Sublayer } from "./decoder.ts";
import type { AttentionHeads, GraphInputs, WeightSpec } from "./model.ts";
import {
  addCalls,
  declared,
  layerNorm,
  layerWeight,
  readCalls,
  residualParts,
  type ResidualSublayer,
  type SublayerNorms,
  type SublayerOptions,
  vector,
} from "./residual.ts";

/** The sublayer of grouped-query attention of one layer. */
export interface AttentionOptions extends AttentionHeads, SublayerOptions {
  /** The position table by which queries and keys are rotated; absent: they are not. */
  readonly rope?: string | undefined;
  /** Elements of a head that the table rotates, the first ones; `headDim` unless given. */
  readonly rotaryDim?: number;
  /** Positions that a query reads, its own included; absent: all. */
  readonly window?: number | undefined;
  /** Multiplies scores; `1 / sqrt(headDim)` unless given. */
  readonly scale?: number;
  /**
   * Queries grow with their positions: times `1 + rate ln(1 + floor(p / span))` (Ministral 3, as
   * Llama 4).
   */
  readonly queryGrowth?: { readonly rate: number; readonly span: number };
  /** Soft cap of scores (Gemma 2): `c tanh(s / c)`. */
  readonly softCap?: number | undefined;
  /**
   * The earlier layer whose keys and values are read, in place of own ones: the layer has queries
   * alone, keeps nothing and reads as far back as that one.
   */
  readonly kvLayer?: number;
  /** One before, `input_layernorm`, unless given. */
  readonly norms?: SublayerNorms;
  /**
   * What is RMS-normalized of queries and of keys before they are rotated: each head (Qwen3), or
   * all heads of a row together (OLMo 2).
   */
  readonly normalizes?: "heads" | "rows";
  /** Whether queries, keys and values are one tensor, `qkv_proj` (Phi-3). */
  readonly isFused?: boolean;
  /** Whether queries, keys and values have biases; not where they are one tensor. */
  readonly hasBiases?: boolean;
  /** Whether the output has biases. */
  readonly hasOutputBias?: boolean;
  /** Whether each head has a score, `sinks`, that takes weight and has no value (gpt-oss). */
  readonly hasSinks?: boolean;
}

/** `hidden += o(attention(rope(qkv(norm(hidden)))))` (GQA: Ainslie 2023, arXiv:2305.13245). */
export function attention(options: AttentionOptions): Sublayer {
  const { numHeads: H, numKvHeads: G, headDim: D } = options;
  const { norms = { before: "input_layernorm" } } = options;
  const sublayer: ResidualSublayer = { ...options, kind: "attention", norms };
  const queries = H * D;
  const words = projectionWidths(options).reduce((sum, width) => sum + width);
  const { before, after, buffers } = residualParts(sublayer);
  return {
    heads: { numHeads: H, numKvHeads: G, headDim: D },
    ...options.kvLayer === undefined ? { cache: layerCache(options) } : {},
    weights: [...before, ...attentionWeights(options), ...after],
    buffers: {
      ...buffers,
      qkv: { per: "token", words },
      attended: { per: "token", words: queries },
    },
    calls: (inputs) => {
      const { activations: { step, partials, stats }, tuning } = inputs;
      const [qkv, attended] = [declared(inputs, "qkv"), declared(inputs, "attended")];
      const { kv, shape } = layerKv(inputs, options);
      const project = { name: "qkv", bias: options.hasBiases ? "qkv_bias" : undefined };
      const output = { name: "o", bias: options.hasOutputBias ? "o_bias" : undefined };
      const sinks = options.hasSinks ? vector(inputs, `${options.layer}.sinks`) : undefined;
      const attending = { step, qkv, kv, partials, stats, out: attended, sinks };
      return [
        ...readCalls(inputs, sublayer, { ...project, n: words }, qkv),
        ...positionCalls(inputs, options),
        ...pagedAttentionCalls(shape, attending, tuning),
        ...addCalls(inputs, sublayer, { ...output, k: queries }, attended),
      ];
    },
  };
}

function layerCache({ numKvHeads, headDim, window }: AttentionOptions): CacheSpec {
  return window === undefined
    ? { kind: "full", numKvHeads, headDim }
    : { kind: "sliding_window", window, numKvHeads, headDim };
}

/** Columns of queries, keys and values in a row of `qkv`. */
function projectionWidths({ numHeads, numKvHeads, headDim, kvLayer }: AttentionOptions): number[] {
  const heads = kvLayer === undefined ? [numHeads, numKvHeads, numKvHeads] : [numHeads];
  return heads.map((count) => count * headDim);
}

/** Elements of queries, and of keys, that are normalized as one; none of either without norms. */
function normWidths({ normalizes, headDim, ...options }: AttentionOptions): number[] {
  const widths = projectionWidths({ ...options, headDim }).slice(0, 2);
  if (normalizes === undefined) return [];
  return normalizes === "rows" ? widths : widths.map(() => headDim);
}

function attentionWeights(options: AttentionOptions): WeightSpec[] {
  const { layer, hiddenSize: E, numHeads, headDim } = options;
  const { normAddend, isFused = false, hasBiases, hasOutputBias } = options;
  const queries = numHeads * headDim;
  const words = projectionWidths(options).reduce((sum, width) => sum + width);
  const stacked = (...inputs: number[]) =>
    projectionWidths(options).map((width, i) =>
      [`self_attn.${"qkv"[i]}_proj`, [width, ...inputs]] as const
    );
  const norms = normWidths(options)
    .map((width, i) => [`self_attn.${"qk"[i]}_norm`, [width]] as const);
  return [
    layerWeight(layer, "qkv", isFused ? [["self_attn.qkv_proj", [words, E]]] : stacked(E)),
    ...hasBiases ? [layerWeight(layer, "qkv_bias", stacked(), "bias")] : [],
    ...norms.length === 0 ? [] : [layerNorm(layer, "head_norms", norms, normAddend)],
    ...options.hasSinks
      ? [{
        name: `${layer}.sinks`,
        tensors: [`model.layers.${layer}.self_attn.sinks`],
        shapes: [[numHeads]],
      }]
      : [],
    layerWeight(layer, "o", [["self_attn.o_proj", [E, queries]]]),
    ...hasOutputBias ? [layerWeight(layer, "o_bias", [["self_attn.o_proj", [E]]], "bias")] : [],
  ];
}

/** Normalizes queries and keys where asked, rotates them, and stores keys and values. */
function positionCalls(inputs: GraphInputs, options: AttentionOptions): KernelCall<StepDims>[] {
  const { layer, rmsNormEps: eps } = options;
  const { activations: { step }, tuning } = inputs;
  const rope = options.rope === undefined ? undefined : declared(inputs, options.rope);
  const qkv = declared(inputs, "qkv");
  const { kv, shape } = layerKv(inputs, options);
  const norms = options.normalizes === undefined
    ? undefined
    : vector(inputs, `${layer}.head_norms`);
  if (options.normalizes !== "rows" || norms === undefined) {
    const own = norms === undefined ? shape : { ...shape, NORM_EPS: eps };
    return [ropeStoreKvCall(own, { step, rope, qkv, kv, norms })];
  }
  const [queries, keys] = normWidths(options);
  const lengths = keys === undefined ? [queries!] as const : [queries!, keys] as const;
  const stride = projectionWidths(options).reduce((sum, width) => sum + width);
  return [
    normPartsCall(
      { lengths, stride, eps, lanes: tuning.normLanes },
      { step, weight: norms, rows: qkv },
    ),
    ropeStoreKvCall(shape, { step, rope, qkv, kv }),
  ];
}

/** The layer's KV: its buffer, or an earlier layer's, and how it attends to it. */
function layerKv(
  { kv }: GraphInputs,
  options: AttentionOptions,
): { kv: DeviceBuffer; shape: AttentionLayer } {
  const { layer, kvLayer, numHeads: H, headDim, rope, scale, softCap, queryGrowth } = options;
  const held = kv[kvLayer ?? layer];
  invariant(held !== undefined, `layer ${layer} reads keys and values that no layer keeps`);
  const shape = {
    H,
    ...held.shape,
    QUERIES_ONLY: kvLayer !== undefined,
    ROTARY_DIM: rope === undefined ? 0 : options.rotaryDim ?? headDim,
    ...omitUndefined({ SCALE: scale, SOFT_CAP: softCap }),
    ...queryGrowth && { QUERY_RATE: queryGrowth.rate, QUERY_SPAN: queryGrowth.span },
  };
  return { kv: held.buffer, shape };
}
