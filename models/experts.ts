import { combineExpertsCall } from "../kernels/experts/combine_experts.ts";
import { expertMatmulCalls, type ExpertProduct } from "../kernels/experts/expert_matmul.ts";
import { packExpertsCalls, tileListWords } from "../kernels/experts/pack_experts.ts";
import { routeExpertsCall, type Routing } from "../kernels/experts/route_experts.ts";
import { matmulCalls } from "../kernels/matmul/matmul.ts";
import { rmsNormCall } from "../kernels/norm/rms_norm.ts";
import type { StepDims } from "../kernels/step.ts";
import type { KernelCall } from "../src/device/kernel.ts";
import type { Block } from "./decoder.ts";
import type { GraphInputs, WeightSpec } from "./model.ts";
import {
  type BlockOptions,
  declared,
  layerWeight,
  type ResidualBlock,
  residualParts,
  vector,
} from "./residual.ts";

/** The block of a feed-forward layer of which each token uses a few experts. */
export interface ExpertsOptions extends BlockOptions, Routing {
  /** Width of one expert. */
  readonly intermediateSize: number;
}

/**
 * `hidden += sum_j p_j expert_j(x)` over the experts of the k largest logits `router(x)` of
 * `x = norm(hidden)` (Shazeer 2017, arXiv:1701.06538), each a gated feed-forward layer.
 *
 * Pairs of a token and an expert are packed by expert, so that a step reads the weights of the
 * experts in use alone, and an expert's once for several tokens; a token's experts are summed up in
 * the order of their logits, whatever else is in the step.
 */
export function experts(options: ExpertsOptions): Block {
  const { numExperts, topK, hiddenSize: E, intermediateSize: I } = options;
  const block: ResidualBlock = {
    ...options,
    block: "mlp",
    norms: { before: "post_attention_layernorm" },
  };
  const { before, buffers } = residualParts(block);
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

function expertWeights(
  { layer, numExperts, hiddenSize: E, intermediateSize: I }: ExpertsOptions,
): WeightSpec[] {
  const each = Array.from({ length: numExperts }, (_, expert) => `mlp.experts.${expert}`);
  const gateUp = each.flatMap((expert) =>
    [[`${expert}.gate_proj`, [I, E]], [`${expert}.up_proj`, [I, E]]] as const
  );
  const down = each.map((expert) => [`${expert}.down_proj`, [E, I]] as const);
  return [
    { ...layerWeight(layer, "router", [["mlp.gate", [numExperts, E]]]), keepsType: true },
    { ...layerWeight(layer, "gate_up", gateUp), numMatrices: numExperts },
    { ...layerWeight(layer, "down", down), numMatrices: numExperts },
  ];
}

/**
 * Norm, logits and choice of experts, and the pairs packed. The logits' product never is one whose
 * order of additions depends on the step, or whose inputs are rounded: another bit may be another
 * expert.
 */
function routingCalls(
  inputs: GraphInputs,
  { layer, hiddenSize: k, rmsNormEps: EPS, numExperts, topK, normalizes }: ExpertsOptions,
): KernelCall<StepDims>[] {
  const { activations: { step }, tuning, weight } = inputs;
  const [x, logits] = [declared(inputs, "normed"), declared(inputs, "router")];
  const routing = { label: "router", numExperts, topK, normalizes };
  const { dtype, shards: w } = weight(`${layer}.router`);
  const product = { label: "router", rows: "tokens", n: numExperts, k, dtype } as const;
  const packed = packedBuffers(inputs);
  return [
    rmsNormCall(
      { label: "router", rows: "tokens", E: k, EPS, LANES: tuning.normLanes },
      { step, x: declared(inputs, "hidden"), weight: vector(inputs, `${layer}.mlp_norm`), out: x },
    ),
    ...matmulCalls(product, { step, x, w, y: logits }, tuning),
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
  const { tuning, weight } = inputs;
  const [inner, outputs] = [declared(inputs, "inner"), declared(inputs, "expert_outputs")];
  const packed = packedBuffers(inputs);
  const gateUp = weight(`${layer}.gate_up`);
  const down = weight(`${layer}.down`);
  const gated: ExpertProduct = {
    ...{ label: "gate_up", routing: options, rows: "tokens", n: I, k: E },
    ...{ dtype: gateUp.dtype, epilogue: "silu" },
  };
  const joined: ExpertProduct = {
    ...{ label: "down", routing: options, rows: "pairs", n: E, k: I, dtype: down.dtype },
  };
  const [x, w] = [declared(inputs, "normed"), gateUp.shards];
  return [
    ...expertMatmulCalls(gated, { ...packed, x, w, y: inner }, tuning),
    ...expertMatmulCalls(joined, { ...packed, x: inner, w: down.shards, y: outputs }, tuning),
    combineExpertsCall(
      { label: "down", E, topK, scale, lanes: tuning.normLanes },
      { ...packed, x: outputs, y: declared(inputs, "hidden") },
    ),
  ];
}
