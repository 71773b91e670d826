import type { Epilogue } from "../kernels/matmul/epilogue.ts";
import { normProductCalls, productCalls } from "../kernels/matmul/product.ts";
import { normAddCall } from "../kernels/norm/norm_add.ts";
import type { StepDims } from "../kernels/step.ts";
import { invariant } from "../src/base/invariant.ts";
import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";
import type { BufferSpecs, GraphInputs, WeightSpec } from "./model.ts";

/** The norms of a sublayer, as its layer's tensors are named. */
export interface SublayerNorms {
  /** Of what the sublayer reads; absent: it reads the residual stream as it is (OLMo 2). */
  readonly before?: string;
  /** Of what it adds to the residual stream (Gemma 2, OLMo 2). */
  readonly after?: string;
}

/** What the sublayers of a layer have in common. */
export interface SublayerOptions {
  readonly layer: number;
  readonly hiddenSize: number;
  readonly rmsNormEps: number;
  /** Added to the weights of every norm: 1 where a checkpoint has `w - 1` (Gemma). */
  readonly normAddend?: number;
  /** Multiplies what is added to the residual stream (Granite); 1 unless given. */
  readonly residualScale?: number;
}

/** A sublayer by name, which reads the residual stream `hidden`, f32 [T, E], and adds to it. */
export interface ResidualSublayer extends SublayerOptions {
  readonly kind: "attention" | "mlp";
  readonly norms: SublayerNorms;
}

/** The sublayer's norms, and the buffer in which rows wait before and after them: f32 [T, E]. */
export function residualParts(
  { layer, kind, norms, hiddenSize: e, normAddend }: ResidualSublayer,
): { before: WeightSpec[]; after: WeightSpec[]; buffers: BufferSpecs } {
  const norm = (name: string, tensor: string | undefined) =>
    tensor === undefined ? [] : [layerNorm(layer, name, [[tensor, [e]]], normAddend)];
  return {
    before: norm(`${kind}_norm`, norms.before),
    after: norm(`${kind}_norm_after`, norms.after),
    buffers: { normed: { per: "token", words: e } },
  };
}

/** A product by a layer's weight `name`, which is its label; `bias` names a vector of the layer. */
interface LayerProduct {
  readonly name: string;
  readonly bias?: string | undefined;
}

/** `y`, f32 [T, n]: the product with what the sublayer reads, or what `epilogue` makes of it. */
export function readCalls(
  inputs: GraphInputs,
  { layer, kind, norms, hiddenSize: k, rmsNormEps: eps }: ResidualSublayer,
  { name, bias, n, epilogue = "store" }: LayerProduct & { n: number; epilogue?: Epilogue },
  y: DeviceBuffer,
): KernelCall<StepDims>[] {
  const { tuning, weight } = inputs;
  const { dtype, shards } = weight(`${layer}.${name}`);
  const product = { label: name, rows: "tokens", n, k, dtype, epilogue } as const;
  const x = declared(inputs, "hidden");
  const buffers = { ...productBuffers(inputs, layer, bias), x, w: shards, y };
  if (norms.before === undefined) return productCalls(product, buffers, tuning);
  const norm = vector(inputs, `${layer}.${kind}_norm`);
  const normed = declared(inputs, "normed");
  return normProductCalls({ ...product, eps }, { ...buffers, norm, normed }, tuning);
}

/** Adds the product with `x`, f32 [T, k], to the residual stream, through the norm after it. */
export function addCalls(
  inputs: GraphInputs,
  { layer, kind, norms, hiddenSize: n, rmsNormEps: eps, residualScale: scale = 1 }:
    ResidualSublayer,
  { name, bias, k }: LayerProduct & { k: number },
  x: DeviceBuffer,
): KernelCall<StepDims>[] {
  const { activations: { step }, tuning, weight } = inputs;
  const { dtype, shards: w } = weight(`${layer}.${name}`);
  const product = { label: name, rows: "tokens", n, k, dtype } as const;
  const buffers = { ...productBuffers(inputs, layer, bias), x, w };
  const y = declared(inputs, "hidden");
  if (norms.after === undefined) {
    return productCalls({ ...product, epilogue: "add", scale }, { ...buffers, y }, tuning);
  }
  const before = declared(inputs, "normed");
  const norm = vector(inputs, `${layer}.${kind}_norm_after`);
  return [
    ...productCalls(product, { ...buffers, y: before }, tuning),
    normAddCall(
      { label: name, E: n, eps, scale, lanes: tuning.normLanes },
      { step, x: before, weight: norm, y },
    ),
  ];
}

function productBuffers(inputs: GraphInputs, layer: number, bias: string | undefined) {
  const { step, codes, scales } = inputs.activations;
  const vectorOf = (name: string) => vector(inputs, `${layer}.${name}`);
  return { step, codes, scales, bias: bias === undefined ? undefined : vectorOf(bias) };
}

/** Tensors of a layer, by their names in it without `.weight`, and their shapes. */
export type LayerTensors = readonly (readonly [tensor: string, shape: readonly number[]])[];

/** A weight of a layer, stacked from its tensors. */
export function layerWeight(
  layer: number,
  name: string,
  stacked: LayerTensors,
  kind: "weight" | "bias" = "weight",
): WeightSpec {
  return {
    name: `${layer}.${name}`,
    tensors: stacked.map(([tensor]) => `model.layers.${layer}.${tensor}.${kind}`),
    shapes: stacked.map(([, shape]) => shape),
  };
}

/** The weights of norms, to which `addend` is added. */
export function layerNorm(
  layer: number,
  name: string,
  stacked: LayerTensors,
  addend: number | undefined,
): WeightSpec {
  const spec = layerWeight(layer, name, stacked);
  return addend === undefined ? spec : { ...spec, addend };
}

/** A buffer or position table that the model declares. */
export function declared({ activations }: GraphInputs, name: string): DeviceBuffer {
  const buffer = activations.declared[name];
  invariant(buffer !== undefined, `the model declares no buffer ${name}`);
  return buffer;
}

/** Vectors are never cut. */
export function vector({ weight }: GraphInputs, name: string): DeviceBuffer {
  return weight(name).shards[0]!.buffer;
}
