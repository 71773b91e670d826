import {
  DEFAULT_QUANTIZATIONS,
  matrixBytes,
  matrixFormat,
  type Quantization,
} from "../core/weight_format.ts";
import type { ModelShape, WeightShape } from "./model_shape.ts";

/** Bytes of all weights as one setting of `--quantization` holds them. */
export interface PlannedWeights {
  /**
   * f16 as most checkpoints store them; int8 and int4 quantized as they are by default; "file" as a
   * GGUF file's own types are held.
   */
  readonly format: "f16" | "int8" | "int4" | "file";
  readonly bytes: number;
  /**
   * Of the largest matrix, which is cut into several buffers where the device cannot bind it whole.
   */
  readonly largestMatrixBytes: number;
}

const QUANTIZATIONS: Readonly<
  Record<Exclude<PlannedWeights["format"], "file">, Quantization | undefined>
> = { f16: undefined, ...DEFAULT_QUANTIZATIONS };

/**
 * Sizes of a model's weights on the device, to the byte, in f16 first; empty where its family's are
 * not known.
 */
export function plannedWeights({ weights }: Pick<ModelShape, "weights">): PlannedWeights[] {
  if (weights === undefined) return [];
  return Object.entries(QUANTIZATIONS).map(([format, quantization]) => {
    const sizes = weights.map((weight) => sizeOf(weight, quantization));
    return {
      format: format as PlannedWeights["format"],
      bytes: sizes.reduce((sum, bytes) => sum + bytes, 0),
      largestMatrixBytes: Math.max(...sizes.filter((_, i) => !weights[i]!.isVector)),
    };
  });
}

function sizeOf(
  { rows, columns, isVector, isVocabulary = false, keepsType = false }: WeightShape,
  quantization: Quantization | undefined,
): number {
  const format = quantization === undefined || keepsType
    ? "f16"
    : matrixFormat(quantization, { columns, isVocabulary });
  return matrixBytes(isVector ? "f32" : format, rows, columns);
}
