import { ceilDiv } from "../base/math.ts";

/** Inputs of a row that share one scale. */
export type GroupSize = 32 | 128;

/** Names a quantized format: bits per weight and inputs per group. */
export type QuantizedDtype = `int${4 | 8}g${GroupSize}`;

/** Element type of a weight matrix in device memory. */
export type WeightDtype = "f32" | "f16" | "bf16" | QuantizedDtype;

/** What a quantized format's name says. */
export interface QuantizedFormat {
  readonly bits: 4 | 8;
  readonly groupSize: GroupSize;
}

/** How weights are quantized as they are loaded. */
export interface Quantization {
  readonly method: "int8" | "int4";
  readonly groupSize: GroupSize;
}

/**
 * Whether products of int8 and int4 weights quantize their activations to int8 as well; "auto" on
 * GPUs that have packed dot products and no matrix units.
 */
export type Int8Activations = "auto" | "on" | "off";

/**
 * Where things lie in the buffer of a quantized matrix [N, K], in u32 words.
 *
 *     codes    N rows of `rowWords`         four int8 or eight int4 codes per word
 *     scales   N rows of `scaleRowWords`    f16, one per group
 *
 * Both regions begin every row at a word, so that any piece of rows can be written alone, and lie
 * in one buffer, since bindings are few. A group is `groupSize` consecutive inputs of one row, the
 * last one of a row what is left. A weight is
 *
 *     int8   scale * code                  code in [-128, 127]
 *     int4   scale * (code - 8)            code in [0, 15]
 *
 * Byte j of a word holds the 8-bit code of input j, or the 4-bit codes of inputs j (low half) and
 * j + 4 (high half): a mask and one byte unpacking give four inputs in order. int4g32 and int8g32
 * hold GGUF's Q4_0 and Q8_0 without loss.
 */
export interface QuantizedLayout {
  readonly rowWords: number;
  readonly scaleRowWords: number;
  /** First word of the scales. */
  readonly scaleWord: number;
  readonly words: number;
}

const BYTES = { f32: 4, f16: 2, bf16: 2 };

/** Whether matrices of this type consist of codes and scales. */
export function isQuantized(dtype: WeightDtype): dtype is QuantizedDtype {
  return !(dtype in BYTES);
}

/** What the name of a quantized format says. */
export function quantizedFormat(dtype: QuantizedDtype): QuantizedFormat {
  const [, bits, groupSize] = /^int(\d)g(\d+)$/.exec(dtype)!;
  return {
    bits: Number(bits) as 4 | 8,
    groupSize: Number(groupSize) as GroupSize,
  };
}

/** The format that matrices are quantized to. */
export function quantizedDtype({ method, groupSize }: Quantization): QuantizedDtype {
  return `${method}g${groupSize}`;
}

/** The layout of a quantized matrix of `rows` by `columns`. */
export function quantizedLayout(
  dtype: QuantizedDtype,
  rows: number,
  columns: number,
): QuantizedLayout {
  const { bits, groupSize } = quantizedFormat(dtype);
  const rowWords = ceilDiv(columns * bits, 32);
  const scaleRowWords = ceilDiv(ceilDiv(columns, groupSize), 2);
  const scaleWord = rows * rowWords;
  return { rowWords, scaleRowWords, scaleWord, words: scaleWord + rows * scaleRowWords };
}

/** Bytes of a matrix in device memory, scales included. */
export function matrixBytes(dtype: WeightDtype, rows: number, columns: number): number {
  if (isQuantized(dtype)) return 4 * quantizedLayout(dtype, rows, columns).words;
  return rows * columns * BYTES[dtype];
}
