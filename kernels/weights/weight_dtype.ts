import { invariant } from "../../src/base/invariant.ts";
import {
  isBlocks,
  isQuantized,
  matrixBytes,
  type QuantizedDtype,
  quantizedFormat,
  quantizedLayout,
  type WeightDtype,
} from "../../src/core/weight_format.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import { blockValues } from "./block_values.ts";
import { panelShape, unpanelled } from "./panel_weights.ts";

export type { WeightDtype } from "../../src/core/weight_format.ts";

/**
 * The constants of `_elements.wgsl`, by which kernels load from a matrix; all but the first are 0
 * for plain element types.
 */
export type WeightConstants = Readonly<{
  WEIGHT_DTYPE: WeightDtype;
  /** Bits of a code. */
  WEIGHT_BITS: number;
  /** A scale is that of `32 << WEIGHT_GROUP_SHIFT` inputs. */
  WEIGHT_GROUP_SHIFT: number;
  /** `QuantizedLayout`, in words. */
  WEIGHT_ROW: number;
  WEIGHT_SCALES: number;
  WEIGHT_SCALE_ROW: number;
  /** Whether it is whole blocks of 256 inputs. */
  WEIGHT_BLOCKS: boolean;
  /** Whether a group has an offset beside its scale. */
  WEIGHT_OFFSETS: boolean;
  /** Fours of inputs per load, a power of two that divides a row. */
  LOAD: number;
  /** Words of codes in one. */
  LOAD_WORDS: number;
  /** Whether the matrix is a texture (`panel_weights.ts`). */
  WEIGHT_TEXTURE: boolean;
}>;

/** Inputs of the smallest group that has a scale; larger ones are twice as many, and so on. */
const SMALLEST_GROUP = 32;

/** Those that WGSL reads when it runs, so that matrices of all sizes and groups share pipelines. */
export const WEIGHT_ARGS = [
  "WEIGHT_ROW",
  "WEIGHT_SCALES",
  "WEIGHT_SCALE_ROW",
  "WEIGHT_GROUP_SHIFT",
] as const;

/**
 * The constants of a weight matrix `w` of `rows` by `columns`, read by `load` fours at a time; no
 * texture.
 */
export function weightConstants(
  dtype: WeightDtype,
  rows: number,
  columns: number,
  load: number,
): WeightConstants {
  const format = isQuantized(dtype) ? quantizedFormat(dtype) : undefined;
  const layout = isQuantized(dtype) ? quantizedLayout(dtype, rows, columns) : undefined;
  return {
    WEIGHT_DTYPE: dtype,
    WEIGHT_BITS: format?.bits ?? 0,
    WEIGHT_GROUP_SHIFT: Math.log2((format?.groupSize ?? SMALLEST_GROUP) / SMALLEST_GROUP),
    WEIGHT_ROW: layout?.rowWords ?? 0,
    WEIGHT_SCALES: layout?.scaleWord ?? 0,
    WEIGHT_SCALE_ROW: layout?.scaleRowWords ?? 0,
    WEIGHT_BLOCKS: isBlocks(dtype),
    WEIGHT_OFFSETS: dtype === "q4_k",
    LOAD: load,
    LOAD_WORDS: format === undefined ? 1 : Math.max(1, load / foursPerWord(dtype)),
    WEIGHT_TEXTURE: false,
  };
}

/** Fours of inputs in a word of codes; of 6 bits, in one of their low halves. */
export function foursPerWord(dtype: WeightDtype): number {
  return isQuantized(dtype) && quantizedFormat(dtype).bits === 8 ? 1 : 2;
}

/** A weight matrix [rows, columns] as f32, decoded once as `HostBuffer.decoded` says. */
export function weightValues(
  buffer: HostBuffer,
  dtype: WeightDtype,
  rows: number,
  columns: number,
): Float32Array {
  if (!buffer.isTexture && !isQuantized(dtype)) return buffer.asF32(dtype);
  const key = `${dtype} [${rows}, ${columns}]`;
  return buffer.decoded(key, () => {
    const plain = unpanel(buffer, dtype, rows, columns);
    return isQuantized(dtype) ? dequantize(plain, dtype, rows, columns) : plain.asF32(dtype);
  });
}

/** A matrix as `QuantizedLayout` has it, or row after row, where it is a texture. */
function unpanel(buffer: HostBuffer, dtype: WeightDtype, rows: number, columns: number) {
  if (!buffer.isTexture) return buffer;
  const plain = new HostBuffer(buffer.label, matrixBytes(dtype, rows, columns));
  plain.write(0, unpanelled(buffer, panelShape(dtype, rows, columns)!));
  return plain;
}

/** The definition of the quantized formats, code by code (`QuantizedLayout`). */
function dequantize(
  buffer: HostBuffer,
  dtype: QuantizedDtype,
  rows: number,
  columns: number,
): Float32Array {
  if (isBlocks(dtype)) return blockValues(buffer.u32, dtype, rows, columns);
  const { groupSize } = quantizedFormat(dtype);
  const { scaleWord, scaleRowWords } = quantizedLayout(dtype, rows, columns);
  const halves = new Float16Array(buffer.u8.buffer);
  const values = codesOf(buffer, dtype, rows, columns);
  for (let row = 0; row < rows; row++) {
    const scales = halves.subarray(2 * (scaleWord + row * scaleRowWords));
    for (let column = 0; column < columns; column++) {
      const group = Math.floor(column / groupSize);
      const at = row * columns + column;
      values[at] = scales[group]! * values[at]!;
    }
  }
  return values;
}

/** The codes of a matrix in groups [rows, columns], decoded once as `HostBuffer.decoded` says. */
export function codeValues(
  buffer: HostBuffer,
  dtype: WeightDtype,
  rows: number,
  columns: number,
): Float32Array {
  invariant(isQuantized(dtype), `${dtype} has no codes`);
  const key = `codes of ${dtype} [${rows}, ${columns}]`;
  return buffer.decoded(
    key,
    () => codesOf(unpanel(buffer, dtype, rows, columns), dtype, rows, columns),
  );
}

/** The scales of a matrix in groups, row after row, decoded once. */
export function weightScales(
  buffer: HostBuffer,
  dtype: WeightDtype,
  rows: number,
  columns: number,
): Float32Array {
  invariant(isQuantized(dtype), `${dtype} has no scales`);
  const key = `scales of ${dtype} [${rows}, ${columns}]`;
  return buffer.decoded(key, () => {
    const { scaleWord, scaleRowWords } = quantizedLayout(dtype, rows, columns);
    const halves = new Float16Array(unpanel(buffer, dtype, rows, columns).u8.buffer);
    const numGroups = Math.ceil(columns / quantizedFormat(dtype).groupSize);
    return Float32Array.from({ length: rows * numGroups }, (_, i) => {
      const row = Math.floor(i / numGroups);
      return halves[2 * (scaleWord + row * scaleRowWords) + i % numGroups]!;
    });
  });
}

/** All codes of a matrix, row after row. */
function codesOf(
  buffer: HostBuffer,
  dtype: QuantizedDtype,
  rows: number,
  columns: number,
): Float32Array {
  invariant(!isBlocks(dtype), `${dtype} has other codes`);
  const bits = quantizedFormat(dtype).bits === 8 ? 8 : 4;
  const { rowWords } = quantizedLayout(dtype, rows, columns);
  const codeAt = CODES[bits];
  const codes = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const bytes = buffer.u8.subarray(4 * row * rowWords, 4 * (row + 1) * rowWords);
    for (let column = 0; column < columns; column++) {
      codes[row * columns + column] = codeAt(bytes, column);
    }
  }
  return codes;
}

/** The code of input `i` of a row, by bits. */
const CODES = {
  8: (bytes: Uint8Array, i: number) => (bytes[i]! << 24) >> 24,
  4: (bytes: Uint8Array, i: number) => (bytes[(i >> 3) * 4 + (i & 3)]! >> (i & 4) & 15) - 8,
};
