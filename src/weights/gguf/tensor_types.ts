import type { Quantization, QuantizedDtype } from "../../core/weight_format.ts";
import type { DecodeBlock } from "./block.ts";
import type { TensorDtype } from "../dtypes.ts";
import {
  decodeIQ4_NL,
  decodeMXFP4,
  decodeQ4_0,
  decodeQ4_1,
  decodeQ5_0,
  decodeQ5_1,
  decodeQ8_0,
} from "./small_blocks.ts";
import {
  decodeIQ4_XS,
  decodeQ2_K,
  decodeQ3_K,
  decodeQ4_K,
  decodeQ5_K,
  decodeQ6_K,
} from "./super_blocks.ts";
import { decodeTQ1_0, decodeTQ2_0 } from "./ternary_blocks.ts";

/** A tensor type of GGUF: plain numbers, or blocks of codes. */
export type TensorType = PlainType | BlockType;

/** Numbers one after the other. */
export interface PlainType {
  readonly name: TensorDtype;
  /** Elements of a block, 1. */
  readonly blockSize: 1;
  readonly blockBytes: number;
  readonly decode?: undefined;
}

/** Blocks of `blockSize` elements, in `blockBytes` bytes each. */
export interface BlockType {
  readonly name: string;
  readonly blockSize: 32 | 256;
  readonly blockBytes: number;
  readonly decode: DecodeBlock;
  /** The format of device memory that holds a matrix's blocks with all their bits. */
  readonly kept?: QuantizedDtype;
  /** What a matrix is quantized to otherwise. */
  readonly nearest: Quantization;
}

const INT8: Quantization = { method: "int8", groupSize: 32 };
const INT4: Quantization = { method: "int4", groupSize: 32 };

/**
 * The types that are read, by their number in a file.
 *
 * The nearest format is the one that holds the numbers as they are, where there is one
 * (`stored_groups.ts`), or else int4 where rounding to it again makes the type's own error no more
 * than a tenth larger, and int8 otherwise: `docs/gguf.md` has the figures.
 */
const TYPES: Readonly<Record<number, TensorType>> = {
  0: { name: "F32", blockSize: 1, blockBytes: 4 },
  1: { name: "F16", blockSize: 1, blockBytes: 2 },
  2: blocks("Q4_0", 32, 18, decodeQ4_0, INT4, "int4g32"),
  3: blocks("Q4_1", 32, 20, decodeQ4_1, INT8),
  6: blocks("Q5_0", 32, 22, decodeQ5_0, INT8),
  7: blocks("Q5_1", 32, 24, decodeQ5_1, INT8),
  8: blocks("Q8_0", 32, 34, decodeQ8_0, INT8, "int8g32"),
  10: blocks("Q2_K", 256, 84, decodeQ2_K, INT4),
  11: blocks("Q3_K", 256, 110, decodeQ3_K, INT4),
  12: blocks("Q4_K", 256, 144, decodeQ4_K, INT8, "q4_k"),
  13: blocks("Q5_K", 256, 176, decodeQ5_K, INT8),
  14: blocks("Q6_K", 256, 210, decodeQ6_K, INT8, "q6_k"),
  20: blocks("IQ4_NL", 32, 18, decodeIQ4_NL, INT8),
  23: blocks("IQ4_XS", 256, 136, decodeIQ4_XS, INT8),
  30: { name: "BF16", blockSize: 1, blockBytes: 2 },
  34: blocks("TQ1_0", 256, 54, decodeTQ1_0, INT4),
  35: blocks("TQ2_0", 256, 66, decodeTQ2_0, INT4),
  39: blocks("MXFP4", 32, 17, decodeMXFP4, INT8),
};

/** Types that are refused by name. */
const OTHER_NAMES: Readonly<Record<number, string>> = {
  4: "Q4_2",
  5: "Q4_3",
  9: "Q8_1",
  15: "Q8_K",
  16: "IQ2_XXS",
  17: "IQ2_XS",
  18: "IQ3_XXS",
  19: "IQ1_S",
  21: "IQ3_S",
  22: "IQ2_S",
  24: "I8",
  25: "I16",
  26: "I32",
  27: "I64",
  28: "F64",
  29: "IQ1_M",
  31: "Q4_0_4_4",
  32: "Q4_0_4_8",
  33: "Q4_0_8_8",
  36: "IQ4_NL_4_4",
  37: "IQ4_NL_4_8",
  38: "IQ4_NL_8_8",
  40: "NVFP4",
  41: "Q1_0",
  42: "Q2_0",
};

function blocks(
  name: string,
  blockSize: 32 | 256,
  blockBytes: number,
  decode: DecodeBlock,
  nearest: Quantization,
  kept?: QuantizedDtype,
): BlockType {
  const type = { name, blockSize, blockBytes, decode, nearest };
  return kept === undefined ? type : { ...type, kept };
}

/** The types that are read. */
export const TENSOR_TYPES: readonly TensorType[] = Object.values(TYPES);

/** The type of a number in a file; undefined for one that is not read. */
export function tensorType(id: number): TensorType | undefined {
  return Object.hasOwn(TYPES, id) ? TYPES[id] : undefined;
}

/** What a type is called, also one that is not read. */
export function typeName(id: number): string {
  return tensorType(id)?.name ?? OTHER_NAMES[id] ?? `number ${id}`;
}

/**
 * The numbers of whole blocks. `into` has as many elements.
 *
 * Costs 3 to 14 ns per element.
 */
export function dequantize(type: BlockType, bytes: Uint8Array, into: Float32Array): void {
  const numBlocks = bytes.byteLength / type.blockBytes;
  if (!Number.isInteger(numBlocks) || into.length !== numBlocks * type.blockSize) {
    throw new RangeError(
      `Cannot dequantize ${bytes.byteLength} bytes of ${type.name} to ${into.length} numbers`,
    );
  }
  for (let block = 0; block < numBlocks; block++) {
    type.decode(bytes, block * type.blockBytes, into, block * type.blockSize);
  }
}
