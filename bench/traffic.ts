import type { StepDims } from "../kernels/step.ts";
import type { ModelConfig } from "../models/model_config.ts";
import type { ModelFamily } from "../models/model_family.ts";
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

/** Numbers in the weight, or the part of one, that a buffer holds. */
export type Elements = ReadonlyMap<DeviceBuffer, number>;

/** How many numbers each buffer of a model's weights has. */
export function weightElements(
  family: ModelFamily,
  config: ModelConfig,
  weights: UploadedWeights,
): Elements {
  return new Map(
    family.weights(config).flatMap((spec) => {
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
  { config, elements, step, dims }: {
    config: ModelConfig;
    elements: Elements;
    step: StepShape;
    dims: StepDims;
  },
): Traffic | undefined {
  const readsKv = call.bindings.some(({ name, access }) => name === "kv" && access === "read");
  if (readsKv) {
    const { numHeads, headDim, numLayers } = config;
    return {
      bytes: kvBytes(config, step) / numLayers,
      flops: 4 * numHeads * headDim * attendedPairs(step),
    };
  }
  // Vectors are small, and the embedding is read a few rows at a time.
  const matrices = call.buffers.filter((buffer) => (elements.get(buffer) ?? 0) > config.hiddenSize);
  if (matrices.length === 0 || call.kernelName.startsWith("embed")) return undefined;
  const rows = call.label === "head" ? dims.numSamples : dims.numTokens;
  return {
    bytes: matrices.reduce((sum, { bytes }) => sum + bytes, 0),
    flops: matrices.reduce((sum, buffer) => sum + 2 * rows * elements.get(buffer)!, 0),
  };
}

function headElements({ vocabSize, hiddenSize }: ModelConfig): number {
  return vocabSize * hiddenSize;
}

/** What a whole step moves and computes. */
export function stepTraffic(
  config: ModelConfig,
  weights: UploadedWeights,
  elements: Elements,
  step: StepShape,
): Traffic {
  const { numHeads, headDim, numLayers, tieWordEmbeddings } = config;
  const embedBytes = weightBytes(weights.weight("embed"));
  // The norms' vectors are read, and multiplied with, but not by a matrix product.
  const matrices = [...elements.values()].filter((count) => count > config.hiddenSize);
  const all = matrices.reduce((a, b) => a + b, 0);
  const head = headElements(config);
  const inLayers = all - head * (tieWordEmbeddings ? 1 : 2);
  const rows = step.batch * step.count;
  return {
    bytes: weights.bytes - (tieWordEmbeddings ? 0 : embedBytes) + kvBytes(config, step),
    flops: 2 * rows * inLayers + 2 * step.batch * head +
      4 * numHeads * headDim * numLayers * attendedPairs(step),
  };
}
