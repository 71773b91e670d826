import {
  QUANT_BLOCK_SIZE,
  type QuantBlockDtype,
  quantizedLayout,
} from "../../src/core/weight_format.ts";
import { f16BitsToF32 } from "../../src/base/float_bits.ts";

/** A block: its words, and the first ones of its row. */
interface Block {
  readonly words: Uint32Array;
  /** Of the row's codes, and of its scales. */
  readonly codes: number;
  readonly scales: number;
  /** The block's number in its row, and how many there are. */
  readonly block: number;
  readonly numBlocks: number;
}

/** The weight of input `i` of a block, before it is rounded to f32. */
type WeightAt = (block: Block, i: number) => number;

const WEIGHT_AT: Readonly<Record<QuantBlockDtype, WeightAt>> = {
  q4_k: weightOfQ4_K,
  q6_k: weightOfQ6_K,
};

/** The definition of the formats with blocks, weight by weight (`QuantizedLayout`). */
export function blockValues(
  words: Uint32Array,
  dtype: QuantBlockDtype,
  rows: number,
  columns: number,
): Float32Array {
  const { rowWords, scaleRowWords, scaleWord } = quantizedLayout(dtype, rows, columns);
  const numBlocks = Math.ceil(columns / QUANT_BLOCK_SIZE);
  const weightAt = WEIGHT_AT[dtype];
  const values = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const [codes, scales] = [row * rowWords, scaleWord + row * scaleRowWords];
    for (let block = 0; block < numBlocks; block++) {
      const place = { words, codes, scales, block, numBlocks };
      const first = row * columns + block * QUANT_BLOCK_SIZE;
      const end = Math.min(QUANT_BLOCK_SIZE, columns - block * QUANT_BLOCK_SIZE);
      for (let i = 0; i < end; i++) values[first + i] = weightAt(place, i);
    }
  }
  return values;
}

/** `unit * scale * code - unitOfMinima * minimum`; f64 holds both products and their difference. */
function weightOfQ4_K({ words, codes, scales, block }: Block, i: number): number {
  const [units, lowScales, lowMinima, uppers] = words.subarray(
    scales + 4 * block,
    scales + 4 * block + 4,
  );
  const bit = 4 * (i >> 5);
  const scale = bits(lowScales!, bit, 4) | bits(uppers!, bit, 2) << 4;
  const minimum = bits(lowMinima!, bit, 4) | bits(uppers!, bit + 2, 2) << 4;
  return f16BitsToF32(units! & 0xffff) * scale * halfOf(words, codes + 32 * block, i) -
    f16BitsToF32(units! >>> 16) * minimum;
}

/** `unit * scale * (code - 32)`; f64 holds the product. */
function weightOfQ6_K({ words, codes, scales, block, numBlocks }: Block, i: number): number {
  const highs = words[codes + 32 * numBlocks + 16 * block + (i >> 4)]!;
  const high = bits(highs, 8 * (i & 3) + 2 * (i >> 2 & 3), 2);
  const code = halfOf(words, codes + 32 * block, i) | high << 4;
  const group = i >> 4;
  const scale = bits(words[scales + 4 * block + (group >> 2)]!, 8 * (group & 3), 8) << 24 >> 24;
  const unit = bits(words[scales + 4 * numBlocks + (block >> 1)]!, 16 * (block & 1), 16);
  return f16BitsToF32(unit) * scale * (code - 32);
}

/** The four bits of input `i`, of a block whose words of them begin at `first`. */
function halfOf(words: Uint32Array, first: number, i: number): number {
  return bits(words[first + (i >> 3)]!, 8 * (i & 3) + (i & 4), 4);
}

function bits(word: number, at: number, width: number): number {
  return (word >>> at) & (2 ** width - 1);
}
