import type { WeightShard } from "../../kernels/weights/weight_shards.ts";
import type { TensorInfo } from "../weights/weights.ts";

/** Rows `[begin, end)` of one tensor of a checkpoint; a vector is one row. */
export interface TensorRows {
  readonly tensor: TensorInfo;
  readonly begin: number;
  readonly end: number;
}

/**
 * The rows of stacked tensors that make up a shard of their matrix, in the order in which it has
 * them: of paired tensors the same rows of each, else those of the stack. Vectors are never cut.
 */
export function rowsOfShard(
  tensors: readonly TensorInfo[],
  { begin, end }: Pick<WeightShard, "begin" | "end">,
  isPaired: boolean,
): TensorRows[] {
  if (tensors[0]!.shape.length < 2) return tensors.map((tensor) => ({ tensor, begin: 0, end: 1 }));
  if (isPaired) return tensors.map((tensor) => ({ tensor, begin, end }));
  const rows: TensorRows[] = [];
  let first = 0;
  for (const tensor of tensors) {
    const numRows = tensor.numElements / tensor.shape.at(-1)!;
    const slice = { begin: Math.max(begin - first, 0), end: Math.min(end - first, numRows) };
    if (slice.begin < slice.end) rows.push({ tensor, ...slice });
    first += numRows;
  }
  return rows;
}

/** The bytes `[begin, end)` of their tensor that these rows take in the checkpoint. */
export function byteRange({ tensor, begin, end }: TensorRows): { begin: number; end: number } {
  const rowBytes = tensor.bytes / (tensor.numElements / tensor.shape.at(-1)!);
  return { begin: begin * rowBytes, end: end * rowBytes };
}
