import { assert } from "@std/assert";
import {
  type IntDtype,
  isBlocks,
  isQuantized,
  type QuantBlockDtype,
  quantizedFormat,
  quantizedLayout,
  type WeightDtype,
} from "../../src/core/weight_format.ts";
import { packRows } from "../../src/weights/pack_rows.ts";
import { noise } from "./agreement.ts";

/** Every element type of weights that takes rows of any length, plain and quantized. */
export const WEIGHT_DTYPES: readonly WeightDtype[] = [
  "f32",
  "f16",
  "bf16",
  ...([8, 4] as const).flatMap((bits) =>
    ([32, 128] as const).map((size) => `int${bits}g${size}` as const)
  ),
];

/** Those whose rows are whole blocks of 256. */
export const BLOCK_DTYPES: readonly QuantBlockDtype[] = ["q4_k", "q6_k"];

/**
 * A matrix of weights in [-1, 1] as it lies in device memory, every code and sign of scale in it.
 */
export function weightFixture(
  dtype: WeightDtype,
  rows: number,
  columns: number,
): Float32Array | Uint16Array | Uint32Array {
  if (isBlocks(dtype)) return blockFixture(dtype, rows, columns);
  if (isQuantized(dtype)) return quantizedFixture(dtype, rows, columns);
  const values = noise(rows * columns, 2);
  if (dtype === "f32") return values;
  if (dtype === "f16") return new Uint16Array(new Float16Array(values).buffer);
  return Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16);
}

function quantizedFixture(
  dtype: IntDtype,
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

/** Random codes and scales; units of either sign, some of them 0 or subnormal. */
function blockFixture(dtype: QuantBlockDtype, rows: number, columns: number): Uint32Array {
  const { scaleWord, scaleRowWords, words } = quantizedLayout(dtype, rows, columns);
  const matrix = Uint32Array.from(noise(words, 2, 2 ** 31), (value) => value + 2 ** 31);
  const halves = new Float16Array(matrix.buffer);
  const numBlocks = columns / 256;
  for (let row = 0; row < rows; row++) {
    const first = 2 * (scaleWord + row * scaleRowWords);
    const units = noise(2 * numBlocks, row + 3);
    for (let block = 0; block < numBlocks; block++) {
      const small = (row + block) % 7 === 3 ? 2 ** -12 : 1;
      if (dtype === "q4_k") {
        halves[first + 8 * block] = small * units[block]! / (63 * 15);
        halves[first + 8 * block + 1] = small * units[numBlocks + block]! / 63;
      } else halves[first + 8 * numBlocks + block] = small * units[block]! / (128 * 32);
    }
  }
  return matrix;
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
