import type { WeightShard } from "../../kernels/weights/weight_shards.ts";
import type { WeightSpec } from "../../models/model.ts";
import { isVector } from "./weight_buffers.ts";
import type { TensorInfo } from "../weights/checkpoint.ts";

/** Rows `[begin, end)` of one tensor of a checkpoint; a vector is one row. */
export interface TensorRows {
  readonly tensor: TensorInfo;
  readonly begin: number;
  readonly end: number;
}

/**
 * The rows of stacked tensors that make up a shard of their matrix, in the order in which it has
 * them: of paired rows the same ones of each half of the stack, of several matrices whole ones.
 * Vectors are never cut.
 */
export function rowsOfShard(
  tensors: readonly TensorInfo[],
  { begin, end }: Pick<WeightShard, "begin" | "end">,
  spec: WeightSpec,
): TensorRows[] {
  const { isGateUp = false, numMatrices } = spec;
  if (isVector(spec)) {
    return tensors.map((tensor) => ({ tensor, begin: 0, end: numRows(tensor) }));
  }
  const total = tensors.reduce((sum, tensor) => sum + numRows(tensor), 0);
  if (numMatrices !== undefined) {
    const each = total / numMatrices;
    return rowsOfStack(tensors, begin * each, end * each);
  }
  if (!isGateUp) return rowsOfStack(tensors, begin, end);
  const half = total / 2;
  return [0, half].flatMap((first) => rowsOfStack(tensors, first + begin, first + end));
}

/** Rows `[begin, end)` of the tensors below each other. */
function rowsOfStack(tensors: readonly TensorInfo[], begin: number, end: number): TensorRows[] {
  const rows: TensorRows[] = [];
  let first = 0;
  for (const tensor of tensors) {
    const count = numRows(tensor);
    const slice = { begin: Math.max(begin - first, 0), end: Math.min(end - first, count) };
    if (slice.begin < slice.end) rows.push({ tensor, ...slice });
    first += count;
  }
  return rows;
}

function numRows({ numElements, shape }: TensorInfo): number {
  return numElements / shape.at(-1)!;
}

/** The bytes `[begin, end)` of their tensor that these rows take in the checkpoint. */
export function byteRange({ tensor, begin, end }: TensorRows): { begin: number; end: number } {
  const rowBytes = tensor.bytes / numRows(tensor);
  return { begin: begin * rowBytes, end: end * rowBytes };
}
