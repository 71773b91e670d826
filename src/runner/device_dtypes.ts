import type { WeightSpec } from "../../models/model.ts";
import {
  isQuantized,
  matrixBytes,
  type Quantization,
  type QuantizedDtype,
  quantizedDtype,
  quantizedFormat,
  type WeightDtype,
} from "../core/weight_format.ts";
import type { TensorInfo, Weights } from "../weights/weights.ts";

/**
 * The type that stacked tensors have on the device. Vectors are f32; matrices are quantized where
 * that is asked for, or else keep their type. Those that the file has in blocks become the nearest
 * format, and where the formats of a stack differ, all its tensors the one of most bits.
 */
export function deviceDtype(
  tensors: readonly TensorInfo[],
  quantization: Quantization | undefined,
): WeightDtype {
  const [first] = tensors;
  if (first!.shape.length < 2) return "f32";
  if (quantization !== undefined) return quantizedDtype(quantization);
  if (tensors.some(({ blocks }) => blocks !== undefined)) return nearestFormat(tensors);
  const alike = tensors.every(({ dtype }) => dtype === first!.dtype);
  return alike ? first!.dtype.toLowerCase() as WeightDtype : "f32";
}

function nearestFormat(tensors: readonly TensorInfo[]): QuantizedDtype {
  const isInt4 = tensors.every(({ blocks }) => blocks?.nearest.method === "int4");
  return isInt4 ? "int4g32" : "int8g32";
}

/** How a format's matrices are quantized. */
export function quantizationOf(dtype: QuantizedDtype): Quantization {
  const { bits, groupSize } = quantizedFormat(dtype);
  return { method: bits === 8 ? "int8" : "int4", groupSize };
}

/** Columns of a matrix whose bytes per weight are told. */
const SAMPLE_COLUMNS = 1024;

/**
 * One sentence for each kind of blocks in a checkpoint and what it becomes on the device; none for
 * a checkpoint of plain numbers.
 */
export function blockNotices(
  checkpoint: Weights,
  specs: readonly WeightSpec[],
  quantization: Quantization | undefined,
): string[] {
  const known = new Set(checkpoint.names());
  const counts = new Map<string, { kind: string; dtype: WeightDtype; count: number }>();
  for (const spec of specs) {
    const tensors = spec.tensors.filter((name) => known.has(name))
      .map((name) => checkpoint.tensor(name));
    for (const { blocks } of tensors) {
      if (blocks === undefined) continue;
      const dtype = deviceDtype(tensors, spec.keepsType === true ? undefined : quantization);
      const key = `${blocks.name} ${dtype}`;
      const entry = counts.get(key) ?? { kind: blocks.name, dtype, count: 0 };
      counts.set(key, { ...entry, count: entry.count + 1 });
    }
  }
  return [...counts.values()].map(({ kind, dtype, count }) => {
    const matrices = count === 1 ? "1 matrix becomes" : `${count} matrices become`;
    const bits = 8 * matrixBytes(dtype, 1, SAMPLE_COLUMNS) / SAMPLE_COLUMNS;
    const cheaper = isQuantized(dtype) && quantizedFormat(dtype).bits === 8
      ? "; --quantization int4 takes about half"
      : "";
    return `${kind}: ${matrices} ${dtype}, ${bits} bits per weight${cheaper}`;
  });
}
