import { StartupError } from "../core/errors.ts";
import { type Quantization, quantizedDtype, quantizedLayout } from "../core/weight_format.ts";
import { decodeToF32, DTYPE_BYTES } from "../weights/dtypes.ts";
import { packRows, type QuantizedGroups } from "../weights/pack_rows.ts";
import { MAX_QUANTIZED_MAGNITUDE, quantize } from "../weights/quantize.ts";
import { readFinite } from "../weights/read_finite.ts";
import { byteRange } from "./tensor_rows.ts";
import type { UploadTarget } from "./upload_target.ts";

/** Weights converted at a time: 32 MiB with all their forms, a fraction of a second of work. */
const CHUNK_WEIGHTS = 4 * 2 ** 20;

/**
 * Quantizes the rows of one buffer, some at a time, and writes them below each other.
 *
 * @throws {StartupError} naming a tensor with a weight that cannot be quantized.
 */
export function uploadQuantized(
  { device, checkpoint, rows, buffer, onBytes }: UploadTarget,
  quantization: Quantization,
): void {
  const dtype = quantizedDtype(quantization);
  const columns = rows[0]!.tensor.shape.at(-1)!;
  const numRows = rows.reduce((sum, { begin, end }) => sum + end - begin, 0);
  const { rowWords, scaleRowWords, scaleWord } = quantizedLayout(dtype, numRows, columns);
  const chunkRows = Math.max(1, Math.floor(CHUNK_WEIGHTS / columns));
  let row = 0;
  for (const slice of rows) {
    const { tensor } = slice;
    const rowBytes = columns * DTYPE_BYTES[tensor.dtype];
    const { begin, end } = byteRange(slice);
    for (let at = begin; at < end; at += chunkRows * rowBytes) {
      const raw = new Uint8Array(Math.min(chunkRows * rowBytes, end - at));
      readFinite(checkpoint, tensor, at, raw);
      const values = new Float32Array(raw.byteLength / DTYPE_BYTES[tensor.dtype]);
      decodeToF32(tensor.dtype, raw, values);
      const groups = quantizeRows(values, columns, quantization, (index) => {
        const path = checkpoint.fileOf(tensor.name);
        const place = at / DTYPE_BYTES[tensor.dtype] + index;
        return `${path}: tensor ${JSON.stringify(tensor.name)} at index ${place}`;
      });
      const { codes, scales } = packRows(groups, columns, dtype);
      device.write(buffer, 4 * row * rowWords, codes);
      device.write(buffer, 4 * (scaleWord + row * scaleRowWords), scales);
      row += raw.byteLength / rowBytes;
      onBytes(raw.byteLength);
    }
  }
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
