import type { StepDims } from "../kernels/step.ts";
import type { Model } from "../models/model.ts";
import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";
import type { UploadedWeights } from "../src/runner/upload_weights.ts";
import { weightBytes, weightShape } from "../src/runner/weight_buffers.ts";
import { kvBytes, type StepShape } from "./model_rig.ts";

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

/** Query positions times the positions they look at, over the whole step. */
function attendedPairs({ batch, count, context }: StepShape): number {
  // Rows at positions [context - count, context), each attending to itself and all before.
  return batch * count * (2 * context - count + 1) / 2;
}

/** What one call of a step's graph moves and computes; undefined for glue that does neither. */
export function callTraffic(
  call: KernelCall<StepDims>,
  { model, elements, step, dims }: {
    model: Model;
    elements: Elements;
    step: StepShape;
    dims: StepDims;
  },
): Traffic | undefined {
  const readsKv = call.bindings.some(({ name, access }) => name === "kv" && access === "read");
  if (readsKv) {
    const { H, D } = call.constants;
    return {
      bytes: kvBytes(model, step) / model.caches.length,
      flops: 4 * Number(H) * Number(D) * attendedPairs(step),
    };
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
  const queries = model.attention
    .reduce((sum, heads) => sum + (heads === undefined ? 0 : heads.numHeads * heads.headDim), 0);
  return {
    bytes: weights.bytes - (isTied ? 0 : weightBytes(embed)) + kvBytes(model, step),
    flops: 2 * rows * inLayers + 2 * step.batch * head + 4 * queries * attendedPairs(step),
  };
}
