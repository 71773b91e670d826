import { StartupError } from "../core/errors.ts";
import {
  type IntDtype,
  isBlocks,
  type Quantization,
  quantizationOf,
  type QuantizedDtype,
  quantizedLayout,
} from "../core/weight_format.ts";
import { decodeToF32, DTYPE_BYTES } from "../weights/dtypes.ts";
import { type PackedRows, packRows, type QuantizedGroups } from "../weights/pack_rows.ts";
import { MAX_QUANTIZED_MAGNITUDE, quantize } from "../weights/quantize.ts";
import { readFinite } from "../weights/read_finite.ts";
import type { Weights } from "../weights/weights.ts";
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
function packedRows(checkpoint: Weights, rows: TensorRows, dtype: QuantizedDtype): PackedRows {
  const { name, shape } = rows.tensor;
  if (isBlocks(dtype)) return checkpoint.readBlocks(name, rows, dtype);
  const groups = checkpoint.readGroups(name, rows, dtype) ??
    quantizedRows(checkpoint, rows, dtype);
  return packRows(groups, shape.at(-1)!, dtype);
}

/** Reads rows as numbers and quantizes them. */
function quantizedRows(
  checkpoint: Weights,
  rows: TensorRows,
  dtype: IntDtype,
): QuantizedGroups {
  const { tensor } = rows;
  const { begin, end } = byteRange(rows);
  const raw = new Uint8Array(end - begin);
  readFinite(checkpoint, tensor, begin, raw);
  const values = new Float32Array(raw.byteLength / DTYPE_BYTES[tensor.dtype]);
  decodeToF32(tensor.dtype, raw, values);
  return quantizeRows(values, tensor.shape.at(-1)!, quantizationOf(dtype), (index) => {
    const path = checkpoint.fileOf(tensor.name);
    const place = begin / DTYPE_BYTES[tensor.dtype] + index;
    return `${path}: tensor ${JSON.stringify(tensor.name)} at index ${place}`;
  });
}

/** `placeOf` names the element of an index in words, for the error. */
function quantizeRows(
  values: Float32Array,
  columns: number,
  quantization: Quantization,
  placeOf: (index: number) => string,
): QuantizedGroups {
  try {
    return quantize(values, columns, quantization);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const index = values.findIndex((value) => Math.abs(value) > MAX_QUANTIZED_MAGNITUDE);
    throw new StartupError(`${placeOf(index)}: ${error.message}`);
  }
}
