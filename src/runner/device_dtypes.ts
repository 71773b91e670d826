import type { WeightSpec } from "../../models/model.ts";
import {
  type IntDtype,
  isBlocks,
  matrixFormat,
  type Quantization,
  type WeightDtype,
} from "../core/weight_format.ts";
import type { TensorInfo } from "../weights/checkpoint.ts";
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
  { isGateUp, numMatrices }: Pick<WeightSpec, "isGateUp" | "numMatrices">,
  tensors: readonly TensorInfo[],
): DeviceTypes {
  const kept = tensors.map(({ blocks }) => blocks?.kept);
  if (kept.every((dtype) => dtype !== undefined && dtype === kept[0])) return { dtype: kept[0]! };
  const ofBlocks = kept.find((dtype) => dtype !== undefined && isBlocks(dtype));
  const canSplit = isGateUp !== true && numMatrices === undefined;
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
