import { matrixBytes, type WeightDtype } from "../core/weight_format.ts";
import { type ModelShape, numLayersOf } from "./model_shape.ts";

/** Bytes of all weights as one setting of `--quantization` holds them. */
export interface PlannedWeights {
  /** f16 as most checkpoints store them; the others quantized in the default groups of 32. */
  readonly format: "f16" | "int8" | "int4";
  readonly bytes: number;
  /**
   * Of the largest matrix, which is cut into several buffers where the device cannot bind it whole.
   */
  readonly largestMatrixBytes: number;
}

const DTYPES: Readonly<Record<PlannedWeights["format"], WeightDtype>> = {
  f16: "f16",
  int8: "int8g32",
  int4: "int4g32",
};

/**
 * Sizes of a model's weights on the device, in f16 first; empty where the shape does not say.
 *
 * Counts the matrices and norms of the Llama family: what the server allocates, to the byte. What
 * other families add (biases, norms of queries and keys) is too small to show.
 */
export function plannedWeights(shape: ModelShape): PlannedWeights[] {
  if (shape.weights === undefined) return [];
  const { hiddenSize, numHeads, intermediateSize, vocabSize, tieWordEmbeddings } = shape.weights;
  const { numKvHeads, headDim } = shape.groups[0]!;
  const numLayers = numLayersOf(shape);
  const queries = numHeads * headDim;
  const matrices: readonly (readonly [count: number, rows: number, columns: number])[] = [
    [tieWordEmbeddings ? 1 : 2, vocabSize, hiddenSize],
    [numLayers, queries + 2 * numKvHeads * headDim, hiddenSize],
    [numLayers, hiddenSize, queries],
    [numLayers, 2 * intermediateSize, hiddenSize],
    [numLayers, hiddenSize, intermediateSize],
  ];
  const normBytes = matrixBytes("f32", 2 * numLayers + 1, hiddenSize);
  return Object.entries(DTYPES).map(([format, dtype]) => ({
    format: format as PlannedWeights["format"],
    bytes: matrices.reduce(
      (sum, [count, rows, columns]) => sum + count * matrixBytes(dtype, rows, columns),
      normBytes,
    ),
    largestMatrixBytes: Math.max(
      ...matrices.map(([, rows, columns]) => matrixBytes(dtype, rows, columns)),
    ),
  }));
}
