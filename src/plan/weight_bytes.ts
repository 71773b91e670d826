import { matrixBytes, type WeightDtype } from "../core/weight_format.ts";
import type { ModelShape } from "./model_shape.ts";

/** Bytes of all weights as one setting of `--quantization` holds them. */
export interface PlannedWeights {
  /**
   * f16 as most checkpoints store them; int8 and int4 quantized in the default groups of 32; "file"
   * as a GGUF file's own types are held.
   */
  readonly format: "f16" | "int8" | "int4" | "file";
  readonly bytes: number;
  /**
   * Of the largest matrix, which is cut into several buffers where the device cannot bind it whole.
   */
  readonly largestMatrixBytes: number;
}

const DTYPES: Readonly<Record<Exclude<PlannedWeights["format"], "file">, WeightDtype>> = {
  f16: "f16",
  int8: "int8g32",
  int4: "int4g32",
};

/**
 * Sizes of a model's weights on the device, to the byte, in f16 first; empty where its family's are
 * not known.
 */
export function plannedWeights({ weights }: Pick<ModelShape, "weights">): PlannedWeights[] {
  if (weights === undefined) return [];
  return Object.entries(DTYPES).map(([format, dtype]) => {
    const sizes = weights.map(({ rows, columns, isVector }) =>
      matrixBytes(isVector ? "f32" : dtype, rows, columns)
    );
    return {
      format: format as PlannedWeights["format"],
      bytes: sizes.reduce((sum, bytes) => sum + bytes, 0),
      largestMatrixBytes: Math.max(...sizes.filter((_, i) => !weights[i]!.isVector)),
    };
  });
}
