import type { Routing } from "../kernels/experts/route_experts.ts";
import type { WeightSpec } from "./model.ts";
import { type LayerTensors, layerWeight, type SublayerOptions } from "./residual.ts";

/**
 * How checkpoints have the matrices of a layer's experts.
 *
 *     each              mlp.experts.N.gate_proj, up_proj, down_proj, a tensor for each
 *     stacked           mlp.experts.gate_up_proj [E, 2I, H], each gate before its up; down_proj
 *     stacked columns   the same, each matrix transposed: gate_up_proj [E, H, 2I]
 */
export type ExpertLayout = "each" | "stacked" | "stacked columns";

/** What the weights of a layer's experts are. */
export interface ExpertWeightOptions
  extends Pick<SublayerOptions, "layer" | "hiddenSize">, Routing {
  /** Width of one expert. */
  readonly intermediateSize: number;
  /** "each" unless given. */
  readonly layout?: ExpertLayout;
  /** The router's name in its layer; `mlp.gate` unless given. */
  readonly router?: string;
  /** Whether the router, gates, ups and the outputs have biases. */
  readonly hasBiases?: boolean;
}

/** The router and the experts of a layer; of each expert the gates and ups are one matrix. */
export function expertWeights(options: ExpertWeightOptions): WeightSpec[] {
  const { layer, numExperts, hiddenSize: E, router = "mlp.gate", hasBiases } = options;
  const logits = layerWeight(layer, "router", [[router, [numExperts, E]]]);
  return [
    { ...logits, keepsType: true },
    ...hasBiases ? [layerWeight(layer, "router_bias", [[router, [numExperts]]], "bias")] : [],
    ...(options.layout ?? "each") === "each" ? separate(options) : stacked(options),
  ];
}

/** A tensor for each matrix of each expert. */
function separate(
  { layer, numExperts, hiddenSize: E, intermediateSize: I, hasBiases }: ExpertWeightOptions,
): WeightSpec[] {
  const ofEach = (tensors: LayerTensors) =>
    Array.from({ length: numExperts }, (_, expert) => expert).flatMap((expert) =>
      tensors.map(([name, shape]) => [`mlp.experts.${expert}.${name}`, shape] as const)
    );
  const gateUp = (shape: readonly number[]) => ofEach([["gate_proj", shape], ["up_proj", shape]]);
  const down = (shape: readonly number[]) => ofEach([["down_proj", shape]]);
  return [
    { ...layerWeight(layer, "gate_up", gateUp([I, E])), numMatrices: numExperts },
    { ...layerWeight(layer, "down", down([E, I])), numMatrices: numExperts },
    ...hasBiases
      ? [
        layerWeight(layer, "gate_up_bias", gateUp([I]), "bias"),
        layerWeight(layer, "down_bias", down([E]), "bias"),
      ]
      : [],
  ];
}

/** Two tensors for all experts of the layer. */
function stacked(options: ExpertWeightOptions): WeightSpec[] {
  const { layer, numExperts, hiddenSize: E, intermediateSize: I, hasBiases } = options;
  const isTransposed = options.layout === "stacked columns";
  const tensor = (name: string) => [`model.layers.${layer}.mlp.experts.${name}`];
  const matrices = (name: string, shape: readonly number[]): WeightSpec => ({
    name: `${layer}.${name}`,
    tensors: tensor(`${name}_proj`),
    shapes: [[numExperts, ...shape]],
    numMatrices: numExperts,
    isTransposed,
  });
  const biases = (name: string, width: number): WeightSpec => ({
    name: `${layer}.${name}_bias`,
    tensors: tensor(`${name}_proj_bias`),
    shapes: [[numExperts, width]],
    isVector: true,
  });
  return [
    matrices("gate_up", [2 * I, E]),
    matrices("down", [E, I]),
    ...hasBiases ? [biases("gate_up", 2 * I), biases("down", E)] : [],
  ];
}
