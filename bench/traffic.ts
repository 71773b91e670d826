import type { StepDims } from "../kernels/step.ts";
import type { Model } from "../models/model.ts";
import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";
import type { UploadedWeights } from "../src/runner/upload_weights.ts";
import { layerBytesPerToken } from "../src/core/kv_layout.ts";
import { weightBytes, weightShape } from "../src/runner/weight_buffers.ts";
import { BLOCK_SIZE, type StepShape } from "./model_rig.ts";

/** What an operation moves and computes at the least, whatever its kernel does. */
export interface Traffic {
  /** Bytes read of weights and KV; activations stay in caches and do not count. */
  readonly bytes: number;
  /** Multiplications and additions, each counted. */
  readonly flops: number;
}

/** Numbers in the matrix, or the part of one, that a buffer holds. */
export type Elements = ReadonlyMap<DeviceBuffer, number>;

/** How many numbers each buffer of a model's matrices has; vectors are small. */
export function weightElements(model: Model, weights: UploadedWeights): Elements {
  return new Map(
    model.weights.filter(({ shapes }) => shapes[0]!.length > 1).flatMap((spec) => {
      const { rowsPerOutput, columns } = weightShape(spec);
      return weights.weight(spec.name).shards.map(({ buffer, begin, end }) =>
        [buffer, (end - begin) * rowsPerOutput * columns] as const
      );
    }),
  );
}

/** Heads of one layer's attention, and the positions that a query reads; 0: all. */
interface LayerAttention {
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly window: number;
}

/** What one layer's attention reads of f16 KV, in whole blocks, and computes, over the whole step. */
function attentionTraffic(
  { numHeads, numKvHeads, headDim, window }: LayerAttention,
  { batch, count, context }: StepShape,
): Traffic {
  const seen = (position: number) => window === 0 ? position + 1 : Math.min(position + 1, window);
  // Rows at positions [context - count, context), each attending to itself and those before it.
  let pairs = 0;
  for (let position = context - count; position < context; position++) pairs += seen(position);
  const first = context - count + 1 - seen(context - count);
  const numBlocks = Math.ceil(context / BLOCK_SIZE) - Math.floor(first / BLOCK_SIZE);
  const tokenBytes = layerBytesPerToken({ numKvHeads, headDim, dtype: "f16" });
  return {
    bytes: batch * numBlocks * BLOCK_SIZE * tokenBytes,
    flops: 4 * numHeads * headDim * batch * pairs,
  };
}

/** What one call of a step's graph moves and computes; undefined for glue that does neither. */
export function callTraffic(
  call: KernelCall<StepDims>,
  { elements, step, dims }: {
    elements: Elements;
    step: StepShape;
    dims: StepDims;
  },
): Traffic | undefined {
  const readsKv = call.bindings.some(({ name, access }) => name === "kv" && access === "read");
  if (readsKv) {
    const [numHeads, numKvHeads, headDim, window] = ["H", "G", "D", "WINDOW"]
      .map((name) => Number(call.constants[name]));
    return attentionTraffic(
      { numHeads: numHeads!, numKvHeads: numKvHeads!, headDim: headDim!, window: window! },
      step,
    );
  }
  // The embedding is read a few rows at a time.
  const matrices = call.buffers.filter((buffer) => elements.has(buffer));
  if (matrices.length === 0 || call.kernelName.startsWith("embed")) return undefined;
  const rows = call.label === "head" ? dims.numSamples : dims.numTokens;
  return {
    bytes: matrices.reduce((sum, { bytes }) => sum + bytes, 0),
    flops: matrices.reduce((sum, buffer) => sum + 2 * rows * elements.get(buffer)!, 0),
  };
}

/** What a whole step moves and computes. */
export function stepTraffic(
  model: Model,
  weights: UploadedWeights,
  elements: Elements,
  step: StepShape,
): Traffic {
  const embed = weights.weight("embed");
  const isTied = !model.weights.some(({ name }) => name === "head");
  const all = [...elements.values()].reduce((a, b) => a + b, 0);
  const head = embed.shards.reduce((sum, { buffer }) => sum + elements.get(buffer)!, 0);
  const inLayers = all - head * (isTied ? 1 : 2);
  const rows = step.batch * step.count;
  const attention = model.attention.flatMap((heads, layer) => {
    if (heads === undefined) return [];
    const cache = model.caches[layer];
    const window = cache?.kind === "sliding_window" ? cache.window : 0;
    return [attentionTraffic({ ...heads, window }, step)];
  });
  const total = (name: keyof Traffic) => attention.reduce((sum, each) => sum + each[name], 0);
  return {
    bytes: weights.bytes - (isTied ? 0 : weightBytes(embed)) + total("bytes"),
    flops: 2 * rows * inLayers + 2 * step.batch * head + total("flops"),
  };
}
