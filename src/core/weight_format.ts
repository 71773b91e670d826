import { ceilDiv } from "../base/math.ts";

/** Inputs of a row that share one scale in a format that weights are quantized to. */
export type GroupSize = 32 | 128;

/** Names a format that weights are quantized to: bits per weight and inputs per group. */
export type IntDtype = `int${4 | 8}g${GroupSize}`;

/**
 * Names a format of GGUF whose blocks are kept: no number of the file is rounded again. Weights are
 * quantized to q4_k, too.
 */
export type QuantBlockDtype = "q4_k" | "q6_k";

/** Names a format of codes and scales. */
export type QuantizedDtype = IntDtype | QuantBlockDtype;

/** Element type of a weight matrix in device memory. */
export type WeightDtype = "f32" | "f16" | "bf16" | QuantizedDtype;

/** What a format of codes and scales is made of. */
export interface QuantizedFormat {
  /** Of a code. */
  readonly bits: 4 | 6 | 8;
  /** Inputs of a row whose codes one f32 multiplies. */
  readonly groupSize: GroupSize | typeof QUANT_BLOCK_SIZE;
}

/** How weights are quantized as they are loaded. */
export interface Quantization {
  readonly method: "int8" | "int4";
  readonly groupSize: GroupSize;
  /** What the embedding and the output's matrix are quantized to instead, if anything else. */
  readonly vocabulary?: "int8";
  /**
   * Whether groups of 32 in int4 have a minimum beside their scale (`q4_k`), where rows are whole
   * groups.
   */
  readonly hasMinima?: boolean;
}

/** What `--quantization` means without further flags. */
export const DEFAULT_QUANTIZATIONS: Readonly<Record<Quantization["method"], Quantization>> = {
  int8: { method: "int8", groupSize: 32 },
  int4: { method: "int4", groupSize: 32, vocabulary: "int8", hasMinima: true },
};

/**
 * Whether products of int8 and int4 weights quantize their activations to int8 as well; "auto" on
 * GPUs that have packed dot products and no matrix units.
 */
export type Int8Activations = "auto" | "on" | "off";

/** Inputs of a block of GGUF's K-quants; a row's last block may be shorter in q4_k. */
export const QUANT_BLOCK_SIZE = 256;

/**
 * Where things lie in the buffer of a quantized matrix [N, K], in u32 words.
 *
 *     codes    N rows of `rowWords`
 *     scales   N rows of `scaleRowWords`
 *
 * Both regions begin every row at a word, so that any piece of rows can be written alone, and lie
 * in one buffer, since bindings are few.
 *
 * **int8, int4.** Four or eight codes per word; scales are f16, one per group of `groupSize`
 * consecutive inputs of one row, the last one of a row what is left. A weight is
 *
 *     int8   scale * code                  code in [-128, 127]
 *     int4   scale * (code - 8)            code in [0, 15]
 *
 * Byte j of a word holds the 8-bit code of input j, or the 4-bit codes of inputs j (low half) and
 * j + 4 (high half): a mask and one byte unpacking give four inputs in order. int4g32 and int8g32
 * hold GGUF's Q4_0 and Q8_0 without loss.
 *
 * **q4_k, q6_k.** GGUF's Q4_K and Q6_K with every bit of them, regrouped: rows are blocks of
 * {@link QUANT_BLOCK_SIZE} inputs, of q4_k the last one what is left. A weight is, with `unit` and
 * `unitOfMinima` f16 of the block and `scale` and `minimum` whole numbers of its group of 32 (q4_k)
 * or 16 inputs (q6_k),
 *
 *     q4_k   unit * scale * code - unitOfMinima * minimum    scale, minimum in [0, 63]
 *     q6_k   unit * scale * (code - 32)                      scale in [-128, 127], code in [0, 63]
 *
 * rounded to f32 once: all products before that are exact in f32. Codes of q4_k lie as int4's do. A
 * row of q6_k has the low halves of all codes as int4's, then their upper pairs: byte j of a word
 * holds those of inputs j, j + 4, j + 8 and j + 12, from the lowest bits on.
 *
 * Scales of a block of q4_k are four words: both units (low half, high half); the lower four bits
 * of eight scales; those of eight minima; for group g from bit 4g on the upper two bits of its
 * scale and of its minimum. A row of q6_k has four words of 16 scales per block, in two's
 * complement, and after all of them the units.
 */
export interface QuantizedLayout {
  readonly rowWords: number;
  readonly scaleRowWords: number;
  /** First word of the scales. */
  readonly scaleWord: number;
  readonly words: number;
}

const BYTES = { f32: 4, f16: 2, bf16: 2 };

/** A row of the table of formats. */
interface FormatTraits extends QuantizedFormat {
  /** Words of a row's scales. */
  readonly scaleWords: (columns: number) => number;
}

const FORMATS: Readonly<Record<QuantizedDtype, FormatTraits>> = {
  int8g32: groups(8, 32),
  int8g128: groups(8, 128),
  int4g32: groups(4, 32),
  int4g128: groups(4, 128),
  q4_k: { bits: 4, groupSize: 32, scaleWords: (columns) => ceilDiv(columns, QUANT_BLOCK_SIZE) * 4 },
  q6_k: {
    bits: 6,
    groupSize: QUANT_BLOCK_SIZE,
    scaleWords: (columns) =>
      columns / QUANT_BLOCK_SIZE * 4 + ceilDiv(columns / QUANT_BLOCK_SIZE, 2),
  },
};

function groups(bits: 4 | 8, groupSize: GroupSize): FormatTraits {
  return { bits, groupSize, scaleWords: (columns) => ceilDiv(ceilDiv(columns, groupSize), 2) };
}

/** Whether matrices of this type consist of codes and scales. */
export function isQuantized(dtype: WeightDtype): dtype is QuantizedDtype {
  return !(dtype in BYTES);
}

/** Whether matrices of this type are blocks of GGUF's K-quants. */
export function isBlocks(dtype: WeightDtype): dtype is QuantBlockDtype {
  return dtype === "q4_k" || dtype === "q6_k";
}

/** What the name of a quantized format says. */
export function quantizedFormat(dtype: QuantizedDtype): QuantizedFormat {
  const { bits, groupSize } = FORMATS[dtype];
  return { bits, groupSize };
}

/** The format that matrices are quantized to. */
export function quantizedDtype({ method, groupSize }: Quantization): IntDtype {
  return `${method}g${groupSize}`;
}

/** A matrix whose format is to be chosen. */
export interface MatrixKind {
  readonly columns: number;
  /** Whether it has a row per token: an embedding, or the output's matrix. */
  readonly isVocabulary: boolean;
}

/** The format that one matrix of a model is quantized to. */
export function matrixFormat(
  { method, groupSize, vocabulary, hasMinima }: Quantization,
  { columns, isVocabulary }: MatrixKind,
): QuantizedDtype {
  const own = isVocabulary ? vocabulary ?? method : method;
  const isWhole = groupSize === 32 && columns % groupSize === 0;
  if (own === "int4" && hasMinima === true && isWhole) return "q4_k";
  return quantizedDtype({ method: own, groupSize });
}

/** How weights are quantized to a format. */
export function quantizationOf(dtype: IntDtype): Quantization {
  const { bits, groupSize } = FORMATS[dtype];
  return { method: bits === 8 ? "int8" : "int4", groupSize: groupSize as GroupSize };
}

/** The layout of a quantized matrix of `rows` by `columns`, whole blocks where it has such. */
export function quantizedLayout(
  dtype: QuantizedDtype,
  rows: number,
  columns: number,
): QuantizedLayout {
  const { bits, scaleWords } = FORMATS[dtype];
  const rowWords = ceilDiv(columns * bits, 32);
  const scaleRowWords = scaleWords(columns);
  const scaleWord = rows * rowWords;
  return { rowWords, scaleRowWords, scaleWord, words: scaleWord + rows * scaleRowWords };
}

/** Bytes of a matrix in device memory, scales included. */
export function matrixBytes(dtype: WeightDtype, rows: number, columns: number): number {
  if (isQuantized(dtype)) return 4 * quantizedLayout(dtype, rows, columns).words;
  return rows * columns * BYTES[dtype];
}
