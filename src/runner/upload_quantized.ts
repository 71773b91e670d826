import { StartupError } from "../core/errors.ts";
import {
  isBlocks,
  quantizationOf,
  type QuantizedDtype,
  quantizedLayout,
} from "../core/weight_format.ts";
import { decodeToF32, DTYPE_BYTES } from "../weights/dtypes.ts";
import { type PackedRows, packRows } from "../weights/pack_rows.ts";
import { MAX_QUANTIZED_MAGNITUDE, quantize } from "../weights/quantize.ts";
import { quantizeBlocks } from "../weights/quantize_blocks.ts";
import { readFinite } from "../weights/read_finite.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { byteRange, type TensorRows } from "./tensor_rows.ts";
import type { UploadTarget } from "./upload_target.ts";

/** Weights converted at a time: 32 MiB with all their forms, a fraction of a second of work. */
const CHUNK_WEIGHTS = 4 * 2 ** 20;

/**
 * Quantizes the rows of one buffer, some at a time, and writes them below each other. Rows that the
 * checkpoint has in exactly this format are copied.
 *
 * @throws {StartupError} naming a tensor with a weight that cannot be quantized.
 */
export function uploadQuantized(target: UploadTarget, dtype: QuantizedDtype): void {
  const { device, checkpoint, buffer, onBytes } = target;
  const columns = target.rows[0]!.tensor.shape.at(-1)!;
  const numRows = target.rows.reduce((sum, { begin, end }) => sum + end - begin, 0);
  const { rowWords, scaleRowWords, scaleWord } = quantizedLayout(dtype, numRows, columns);
  const chunkRows = Math.max(1, Math.floor(CHUNK_WEIGHTS / columns));
  let row = 0;
  for (const { tensor, begin, end } of target.rows) {
    for (let at = begin; at < end; at += chunkRows) {
      const rows = { tensor, begin: at, end: Math.min(end, at + chunkRows) };
      const { codes, scales } = packedRows(checkpoint, rows, dtype);
      device.write(buffer, 4 * row * rowWords, codes);
      device.write(buffer, 4 * (scaleWord + row * scaleRowWords), scales);
      row += rows.end - rows.begin;
      onBytes(byteRange(rows).end - byteRange(rows).begin);
    }
  }
}

/** Reads rows in the format of device memory. */
function packedRows(checkpoint: Checkpoint, rows: TensorRows, dtype: QuantizedDtype): PackedRows {
  const { name, shape, blocks } = rows.tensor;
  const columns = shape.at(-1)!;
  if (isBlocks(dtype)) {
    if (blocks?.kept === dtype) return checkpoint.readBlocks(name, rows, dtype);
    return quantizedRows(checkpoint, rows, (values) => quantizeBlocks(values, columns));
  }
  const how = quantizationOf(dtype);
  const groups = checkpoint.readGroups(name, rows, dtype) ??
    quantizedRows(checkpoint, rows, (values) => quantize(values, columns, how));
  return packRows(groups, columns, dtype);
}

/**
 * Reads rows as numbers and quantizes them.
 *
 * @throws {StartupError} naming the tensor and the index of a weight that cannot be quantized.
 */
function quantizedRows<Rows>(
  checkpoint: Checkpoint,
  rows: TensorRows,
  quantize: (values: Float32Array) => Rows,
): Rows {
  const { tensor } = rows;
  const { begin, end } = byteRange(rows);
  const raw = new Uint8Array(end - begin);
  readFinite(checkpoint, tensor, begin, raw);
  const values = new Float32Array(raw.byteLength / DTYPE_BYTES[tensor.dtype]);
  decodeToF32(tensor.dtype, raw, values);
  try {
    return quantize(values);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const path = checkpoint.fileOf(tensor.name);
    const inPiece = values.findIndex((value) => Math.abs(value) > MAX_QUANTIZED_MAGNITUDE);
    const index = begin / DTYPE_BYTES[tensor.dtype] + inPiece;
    throw new StartupError(
      `${path}: tensor ${JSON.stringify(tensor.name)} at index ${index}: ${error.message}`,
    );
  }
}
