import { combineExpertsCall } from "../kernels/experts/combine_experts.ts";
import type { ExpertProduct } from "../kernels/experts/expert_matmul.ts";
import { expertProductCalls } from "../kernels/experts/expert_product.ts";
import { packExpertsCalls, tileListWords } from "../kernels/experts/pack_experts.ts";
import { routeExpertsCall } from "../kernels/experts/route_experts.ts";
import type { Activation } from "../kernels/matmul/epilogue.ts";
import { matmulCalls } from "../kernels/matmul/matmul.ts";
import { rmsNormCall } from "../kernels/norm/rms_norm.ts";
import type { StepDims } from "../kernels/step.ts";
import type { KernelCall } from "../src/device/kernel.ts";
import type { Sublayer } from "./decoder.ts";
import { type ExpertWeightOptions, expertWeights } from "./expert_weights.ts";
import type { GraphInputs } from "./model.ts";
import {
  declared,
  residualParts,
  type ResidualSublayer,
  type SublayerOptions,
  vector,
} from "./residual.ts";

/** The sublayer of a feed-forward layer of which each token uses a few experts. */
export interface ExpertsOptions extends SublayerOptions, ExpertWeightOptions {
  /** What gates go through; SiLU unless given. */
  readonly activation?: Activation;
  /** What gates and ups are clamped to, by the activation that does. */
  readonly gateLimit?: number;
}

/**
 * `hidden += sum_j p_j expert_j(x)` over the experts of the k largest logits `router(x)` of
 * `x = norm(hidden)` (Shazeer 2017, arXiv:1701.06538), each a gated feed-forward layer.
 *
 * Pairs of a token and an expert are packed by expert, so that a step reads the weights of the
 * experts in use alone, and an expert's once for several tokens; a token's experts are summed up in
 * the order of their logits, whatever else is in the step.
 */
export function experts(options: ExpertsOptions): Sublayer {
  const { numExperts, topK, hiddenSize: E, intermediateSize: I } = options;
  const sublayer: ResidualSublayer = {
    ...options,
    kind: "mlp",
    norms: { before: "post_attention_layernorm" },
  };
  const { before, buffers } = residualParts(sublayer);
  return {
    weights: [...before, ...expertWeights(options)],
    buffers: {
      ...buffers,
      router: { per: "token", words: numExperts },
      expert_ids: { per: "token", words: topK },
      expert_weights: { per: "token", words: topK },
      expert_pairs: { per: "token", words: topK },
      expert_tiles: { per: "token", words: tileListWords(options) },
      inner: { per: "token", words: topK * I },
      expert_outputs: { per: "token", words: topK * E },
    },
    calls: (inputs) => [
      ...routingCalls(inputs, options),
      ...expertCalls(inputs, options),
    ],
  };
}

/**
 * Norm, logits and choice of experts, and the pairs packed. The logits' product never is one whose
 * order of additions depends on the step, or whose inputs are rounded: another bit may be another
 * expert.
 */
function routingCalls(
  inputs: GraphInputs,
  options: ExpertsOptions,
): KernelCall<StepDims>[] {
  const { layer, hiddenSize: k, rmsNormEps: EPS, numExperts, topK, normalizes } = options;
  const { activations: { step }, tuning, weight } = inputs;
  const [x, logits] = [declared(inputs, "normed"), declared(inputs, "router")];
  const routing = { label: "router", numExperts, topK, normalizes };
  const { dtype, shards: w } = weight(`${layer}.router`);
  const product = { label: "router", rows: "tokens", n: numExperts, k, dtype } as const;
  const packed = packedBuffers(inputs);
  const bias = options.hasBiases ? vector(inputs, `${layer}.router_bias`) : undefined;
  return [
    rmsNormCall(
      { label: "router", rows: "tokens", E: k, EPS, LANES: tuning.normLanes },
      { step, x: declared(inputs, "hidden"), weight: vector(inputs, `${layer}.mlp_norm`), out: x },
    ),
    ...matmulCalls(product, { step, x, w, y: logits, bias }, tuning),
    routeExpertsCall({ ...routing, lanes: tuning.normLanes }, { ...packed, logits }),
    ...packExpertsCalls(routing, packed, tuning),
  ];
}

function packedBuffers(inputs: GraphInputs) {
  return {
    step: inputs.activations.step,
    ids: declared(inputs, "expert_ids"),
    weights: declared(inputs, "expert_weights"),
    pairs: declared(inputs, "expert_pairs"),
    tiles: declared(inputs, "expert_tiles"),
  };
}

/** What the chosen experts make of their tokens, added to the residual stream. */
function expertCalls(inputs: GraphInputs, options: ExpertsOptions): KernelCall<StepDims>[] {
  const { layer, hiddenSize: E, intermediateSize: I, topK, residualScale: scale = 1 } = options;
  const { activation = "silu" } = options;
  const { tuning, weight } = inputs;
  const biasOf = (name: string) =>
    options.hasBiases ? vector(inputs, `${layer}.${name}_bias`) : undefined;
  const [inner, outputs] = [declared(inputs, "inner"), declared(inputs, "expert_outputs")];
  const packed = packedBuffers(inputs);
  const gateUp = weight(`${layer}.gate_up`);
  const down = weight(`${layer}.down`);
  const gated: ExpertProduct = {
    ...{ label: "gate_up", routing: options, rows: "tokens", n: I, k: E },
    ...{ dtype: gateUp.dtype, epilogue: activation, gateLimit: options.gateLimit },
    alternates: (options.layout ?? "each") !== "each",
  };
  const joined: ExpertProduct = {
    ...{ label: "down", routing: options, rows: "pairs", n: E, k: I, dtype: down.dtype },
  };
  const gatedBuffers = { x: declared(inputs, "normed"), w: gateUp.shards, y: inner };
  const joinedBuffers = { x: inner, w: down.shards, y: outputs };
  return [
    ...expertProductCalls(
      gated,
      { ...packed, ...gatedBuffers, bias: biasOf("gate_up") },
      tuning,
    ),
    ...expertProductCalls(joined, { ...packed, ...joinedBuffers, bias: biasOf("down") }, tuning),
    combineExpertsCall(
      { label: "down", E, topK, scale, lanes: tuning.normLanes },
      { ...packed, x: outputs, y: declared(inputs, "hidden") },
    ),
  ];
}
