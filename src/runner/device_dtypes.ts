import type { WeightSpec } from "../../models/model.ts";
import {
  type IntDtype,
  isQuantized,
  matrixBytes,
  type Quantization,
  quantizedDtype,
  quantizedFormat,
  type WeightDtype,
} from "../core/weight_format.ts";
import type { TensorInfo, Weights } from "../weights/weights.ts";
import { isVector } from "./weight_buffers.ts";

/**
 * The type that stacked tensors have on the device. Vectors are f32; matrices are quantized where
 * that is asked for, or else keep their type. Those that the file has in blocks stay in them where
 * a format keeps them and all of the stack are alike; otherwise they become the nearest format, and
 * where the formats of a stack differ, all its tensors the one of most bits.
 */
export function deviceDtype(
  spec: WeightSpec,
  tensors: readonly TensorInfo[],
  quantization: Quantization | undefined,
): WeightDtype {
  const [first] = tensors;
  if (isVector(spec)) return "f32";
  if (quantization !== undefined && !spec.keepsType) return quantizedDtype(quantization);
  if (tensors.some(({ blocks }) => blocks !== undefined)) {
    const kept = first!.blocks?.kept;
    if (kept !== undefined && tensors.every(({ blocks }) => blocks?.kept === kept)) return kept;
    return nearestFormat(tensors);
  }
  const alike = tensors.every(({ dtype }) => dtype === first!.dtype);
  return alike ? first!.dtype.toLowerCase() as WeightDtype : "f32";
}

function nearestFormat(tensors: readonly TensorInfo[]): IntDtype {
  const isInt4 = tensors.every(({ blocks }) => blocks?.nearest.method === "int4");
  return isInt4 ? "int4g32" : "int8g32";
}

/** Columns of a row whose bytes per weight are told. */
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
  const counts = new Map<string, BlockCount>();
  for (const spec of specs) {
    const tensors = spec.tensors.filter((name) => known.has(name))
      .map((name) => checkpoint.tensor(name));
    for (const { blocks } of tensors) {
      if (blocks === undefined) continue;
      const dtype = deviceDtype(spec, tensors, quantization);
      const key = `${blocks.name} ${dtype}`;
      const isKept = dtype === blocks.kept;
      const entry = counts.get(key) ?? { kind: blocks.name, dtype, isKept, count: 0 };
      counts.set(key, { ...entry, count: entry.count + 1 });
    }
  }
  return [...counts.values()].map(noticeOf);
}

/** Matrices of one kind that become the same. */
interface BlockCount {
  readonly kind: string;
  readonly dtype: WeightDtype;
  /** Whether that holds their blocks with all their bits. */
  readonly isKept: boolean;
  readonly count: number;
}

function noticeOf({ kind, dtype, isKept, count }: BlockCount): string {
  const one = count === 1;
  const matrices = isKept
    ? `${one ? "1 matrix is" : `${count} matrices are`} kept in blocks as`
    : one
    ? "1 matrix becomes"
    : `${count} matrices become`;
  const bits = 8 * matrixBytes(dtype, 1, SAMPLE_COLUMNS) / SAMPLE_COLUMNS;
  const cheaper = isQuantized(dtype) && quantizedFormat(dtype).bits === 8
    ? "; --quantization int4 takes about half"
    : "";
  return `${kind}: ${matrices} ${dtype}, ${bits} bits per weight${cheaper}`;
}
