import type { WeightSpec } from "../../models/model.ts";
import {
  type IntDtype,
  isBlocks,
  isQuantized,
  matrixBytes,
  matrixFormat,
  type Quantization,
  quantizedFormat,
  type WeightDtype,
} from "../core/weight_format.ts";
import type { TensorInfo, Weights } from "../weights/weights.ts";
import { isVector, type WeightPart } from "./weight_buffers.ts";

/** The types that a weight has on the device. */
export interface DeviceTypes {
  /** Of all of it, or of a part. */
  readonly dtype: WeightDtype;
  /** In order, where its tensors stay in blocks of several kinds. */
  readonly parts?: readonly WeightPart[];
}

/**
 * The types of stacked tensors on the device. Vectors are f32; matrices are quantized where that is
 * asked for, or else keep their type. Those that the file has in blocks stay in them where a format
 * keeps them: tensors of several kinds as parts of the weight, unless they give outputs in pairs.
 * What is left of those in blocks becomes the nearest format, and a stack of them the one of most
 * bits.
 */
export function deviceTypes(
  spec: WeightSpec,
  tensors: readonly TensorInfo[],
  quantization: Quantization | undefined,
): DeviceTypes {
  const [first] = tensors;
  if (isVector(spec)) return { dtype: "f32" };
  if (quantization !== undefined && spec.keepsType !== true) {
    const columns = first!.shape.at(-1)!;
    return {
      dtype: matrixFormat(quantization, { columns, isVocabulary: spec.isVocabulary === true }),
    };
  }
  if (tensors.some(({ blocks }) => blocks !== undefined)) return blockTypes(spec, tensors);
  const alike = tensors.every(({ dtype }) => dtype === first!.dtype);
  return { dtype: alike ? first!.dtype.toLowerCase() as WeightDtype : "f32" };
}

function blockTypes(
  { isPaired, numMatrices }: Pick<WeightSpec, "isPaired" | "numMatrices">,
  tensors: readonly TensorInfo[],
): DeviceTypes {
  const kept = tensors.map(({ blocks }) => blocks?.kept);
  if (kept.every((dtype) => dtype !== undefined && dtype === kept[0])) return { dtype: kept[0]! };
  const ofBlocks = kept.find((dtype) => dtype !== undefined && isBlocks(dtype));
  const canSplit = isPaired !== true && numMatrices === undefined;
  // int8 holds all codes of int4 as they are.
  if (ofBlocks === undefined || kept.includes(undefined) || !canSplit) {
    return { dtype: nearestFormat(tensors) };
  }
  const parts: WeightPart[] = [];
  for (const [i, { shape, numElements }] of tensors.entries()) {
    const [last, dtype] = [parts.at(-1), kept[i]!];
    const [begin, rows] = [last?.end ?? 0, numElements / shape.at(-1)!];
    const part = { begin, end: begin + rows, dtype };
    if (last?.dtype === dtype) parts.splice(-1, 1, { ...part, begin: last.begin });
    else parts.push(part);
  }
  return { dtype: ofBlocks, parts };
}

function nearestFormat(tensors: readonly TensorInfo[]): IntDtype {
  const isInt4 = tensors.every(({ blocks }) => blocks?.nearest.method === "int4");
  return isInt4 ? "int4g32" : "int8g32";
}

/**
 * A sentence for the matrices whose rows are too odd for the format that is asked for, and what
 * they become instead; none where all are quantized alike.
 */
export function fallbackNotices(
  sources: readonly { readonly spec: WeightSpec; readonly tensors: readonly TensorInfo[] }[],
  quantization: Quantization | undefined,
): string[] {
  if (quantization?.hasMinima !== true) return [];
  const columns = sources.filter(({ spec }) => !isVector(spec) && spec.keepsType !== true)
    .filter(({ spec }) => spec.isVocabulary !== true || quantization.vocabulary === undefined)
    .map(({ tensors }) => tensors[0]!.shape.at(-1)!)
    .filter((columns) => columns % quantization.groupSize !== 0);
  if (columns.length === 0) return [];
  const rows = [...new Set(columns)].sort((a, b) => a - b).join(", ");
  const matrices = columns.length === 1 ? "1 matrix" : `${columns.length} matrices`;
  return [
    `${matrices} with rows of ${rows} become int4 without minima, which lose more: only rows of ` +
    `whole groups of ${quantization.groupSize} have both`,
  ];
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
    if (tensors.length === 0) continue;
    const types = deviceTypes(spec, tensors, quantization);
    for (const { blocks } of tensors) {
      if (blocks === undefined) continue;
      const dtype = types.parts === undefined ? types.dtype : blocks.kept!;
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
