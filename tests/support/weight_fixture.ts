import { assert } from "@std/assert";
import {
  isQuantized,
  type QuantizedDtype,
  quantizedFormat,
  quantizedLayout,
  type WeightDtype,
} from "../../src/core/weight_format.ts";
import { packRows } from "../../src/weights/pack_rows.ts";
import { noise } from "./agreement.ts";

/** Every element type of weights, plain and quantized. */
export const WEIGHT_DTYPES: readonly WeightDtype[] = [
  "f32",
  "f16",
  "bf16",
  ...([8, 4] as const).flatMap((bits) =>
    ([32, 128] as const).map((size) => `int${bits}g${size}` as const)
  ),
];

/**
 * A matrix of weights in [-1, 1] as it lies in device memory, every code and sign of scale in it.
 */
export function weightFixture(
  dtype: WeightDtype,
  rows: number,
  columns: number,
): Float32Array | Uint16Array | Uint32Array {
  if (isQuantized(dtype)) return quantizedFixture(dtype, rows, columns);
  const values = noise(rows * columns, 2);
  if (dtype === "f32") return values;
  if (dtype === "f16") return new Uint16Array(new Float16Array(values).buffer);
  return Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16);
}

function quantizedFixture(
  dtype: QuantizedDtype,
  rows: number,
  columns: number,
): Uint32Array {
  const { bits, groupSize } = quantizedFormat(dtype);
  const numGroups = rows * Math.ceil(columns / groupSize);
  const reach = 2 ** (bits - 1);
  const codes = Uint8Array.from(
    noise(rows * columns, 2),
    (value) => Math.floor((value + 1) / 2 * 2 ** bits),
  );
  const scales = new Float16Array(noise(numGroups, 3, 1 / reach));
  const packed = packRows({ codes, scales }, columns, dtype);
  const words = new Uint32Array(packed.codes.length + packed.scales.length);
  words.set(packed.codes);
  words.set(packed.scales, packed.codes.length);
  return words;
}

/**
 * Rows of a matrix of `columns`, `[begin, end)` of `numRows`, as a matrix of their own in device
 * memory.
 */
export function fixtureRows(
  matrix: Float32Array | Uint16Array | Uint32Array,
  { dtype, numRows, columns }: { dtype: WeightDtype; numRows: number; columns: number },
  ranges: readonly (readonly [begin: number, end: number])[],
): Float32Array | Uint16Array | Uint32Array {
  const take = (first: number, rowLen: number) =>
    ranges.flatMap(([begin, end]) => [
      ...matrix.subarray(first + begin * rowLen, first + end * rowLen),
    ]);
  if (matrix instanceof Float32Array) return Float32Array.from(take(0, columns));
  if (matrix instanceof Uint16Array) return Uint16Array.from(take(0, columns));
  assert(isQuantized(dtype));
  const { rowWords, scaleWord, scaleRowWords } = quantizedLayout(dtype, numRows, columns);
  return Uint32Array.from([...take(0, rowWords), ...take(scaleWord, scaleRowWords)]);
}
