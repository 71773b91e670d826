import {
  QUANT_BLOCK_SIZE,
  type QuantBlockDtype,
  quantizedLayout,
} from "../../core/weight_format.ts";
import type { PackedRows } from "../pack_rows.ts";
import { halfAt } from "./block.ts";

/** A byte's low half, and its lowest pair of bits, in each byte of a word. */
const HALVES = 0x0f0f0f0f;
const PAIRS = 0x03030303;

/** Regroups the block at byte `at` of a file into words of codes and of scales. */
type PackBlock = (file: DataView, at: number, to: BlockPlace) => void;

/** Where a block's words go. */
interface BlockPlace {
  readonly codes: Uint32Array;
  readonly scales: Uint32Array;
  /** First word of the row's codes, and of its scales. */
  readonly codesRow: number;
  readonly scalesRow: number;
  /** The block's number in its row, and how many there are. */
  readonly block: number;
  readonly numBlocks: number;
}

/** A kind of blocks in a file. */
interface BlockKind {
  readonly bytes: number;
  /** Bytes at which its f16 units lie. */
  readonly unitsAt: readonly number[];
  readonly pack: PackBlock;
}

const KINDS: Readonly<Record<QuantBlockDtype, BlockKind>> = {
  q4_k: { bytes: 144, unitsAt: [0, 2], pack: packQ4_K },
  q6_k: { bytes: 210, unitsAt: [208], pack: packQ6_K },
};

/** The first unit that is no finite number, and in which block. */
export function findUnsoundUnit(
  bytes: Uint8Array,
  dtype: QuantBlockDtype,
): { readonly unit: number; readonly block: number } | undefined {
  const { bytes: blockBytes, unitsAt } = KINDS[dtype];
  for (let at = 0; at < bytes.byteLength; at += blockBytes) {
    for (const place of unitsAt) {
      const unit = halfAt(bytes, at + place);
      if (!Number.isFinite(unit)) return { unit, block: at / blockBytes };
    }
  }
  return undefined;
}

/**
 * Rows of `columns` weights in blocks of a GGUF file as `QuantizedLayout` has them in device
 * memory: every bit of the file in another place. `super_blocks.ts` says where it is in the file.
 *
 * Costs about 1 ns per weight.
 */
export function packBlocks(bytes: Uint8Array, columns: number, dtype: QuantBlockDtype): PackedRows {
  const { bytes: blockBytes, pack } = KINDS[dtype];
  const numBlocks = columns / QUANT_BLOCK_SIZE;
  const numRows = bytes.byteLength / (numBlocks * blockBytes);
  const { rowWords, scaleRowWords } = quantizedLayout(dtype, numRows, columns);
  const codes = new Uint32Array(numRows * rowWords);
  const scales = new Uint32Array(numRows * scaleRowWords);
  const file = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let row = 0; row < numRows; row++) {
    const [codesRow, scalesRow] = [row * rowWords, row * scaleRowWords];
    for (let block = 0; block < numBlocks; block++) {
      const place = { codes, scales, codesRow, scalesRow, block, numBlocks };
      pack(file, (row * numBlocks + block) * blockBytes, place);
    }
  }
  return { codes, scales };
}

function packQ4_K(file: DataView, at: number, to: BlockPlace): void {
  const { codes, scales, codesRow, scalesRow, block } = to;
  packHalves(file, at + 16, codes, codesRow + 32 * block);
  const first = scalesRow + 4 * block;
  const word = (index: number) => file.getUint32(at + 4 * index, true);
  // Six bits of scales 0 to 3, of minima 0 to 3, each with two of number 4 to 7 above it; four bits
  // of scales 4 to 7 with those of the minima above them.
  const [low, lowMinima, rest] = [word(1), word(2), word(3)];
  scales[first] = word(0);
  scales[first + 1] = gathered(low & HALVES) | gathered(rest & HALVES) << 16;
  scales[first + 2] = gathered(lowMinima & HALVES) | gathered((rest >>> 4) & HALVES) << 16;
  const uppers = ((low >>> 4) & PAIRS) | ((lowMinima >>> 4) & PAIRS) << 2;
  const last = ((low >>> 6) & PAIRS) | ((lowMinima >>> 6) & PAIRS) << 2;
  scales[first + 3] = gathered(uppers) | gathered(last) << 16;
}

/** The low halves of four bytes as 16 bits. */
function gathered(word: number): number {
  return (word & 15) | (word >>> 4 & 0xf0) | (word >>> 8 & 0xf00) | (word >>> 12 & 0xf000);
}

/**
 * Codes of 256 numbers, of which 32 bytes hold two runs of 32, one in the low halves and one in the
 * high.
 */
function packHalves(file: DataView, at: number, codes: Uint32Array, to: number): void {
  for (let run = 0; run < 4; run++) {
    for (let i = 0; i < 4; i++) {
      const first = file.getUint32(at + 32 * run + 8 * i, true);
      const second = file.getUint32(at + 32 * run + 8 * i + 4, true);
      codes[to + 8 * run + i] = (first & HALVES) | (second & HALVES) << 4;
      codes[to + 8 * run + 4 + i] = ((first >>> 4) & HALVES) | (second & ~HALVES);
    }
  }
}

function packQ6_K(file: DataView, at: number, to: BlockPlace): void {
  const { codes, scales, codesRow, scalesRow, block, numBlocks } = to;
  const lows = codesRow + 32 * block;
  const highs = codesRow + 32 * numBlocks + 16 * block;
  for (let half = 0; half < 2; half++) {
    packLows(file, at + 64 * half, codes, lows + 16 * half);
    packUppers(file, at + 128 + 32 * half, codes, highs + 8 * half);
  }
  for (let i = 0; i < 4; i++) {
    scales[scalesRow + 4 * block + i] = file.getUint32(at + 192 + 4 * i, true);
  }
  const unit = file.getUint16(at + 208, true);
  scales[scalesRow + 4 * numBlocks + (block >> 1)]! |= unit << (16 * (block & 1));
}

/** Low halves of 128 codes: 64 bytes hold those of number j and of number j + 64. */
function packLows(file: DataView, at: number, codes: Uint32Array, to: number): void {
  for (let i = 0; i < 8; i++) {
    const first = file.getUint32(at + 8 * i, true);
    const second = file.getUint32(at + 8 * i + 4, true);
    codes[to + i] = (first & HALVES) | (second & HALVES) << 4;
    codes[to + 8 + i] = ((first >>> 4) & HALVES) | (second & ~HALVES);
  }
}

/** Upper pairs of 128 codes: 32 bytes hold those of numbers 32 apart. */
function packUppers(file: DataView, at: number, codes: Uint32Array, to: number): void {
  for (let i = 0; i < 8; i++) {
    let word = 0;
    for (let four = 0; four < 4; four++) {
      const pairs = file.getUint32(at + 16 * (i & 1) + 4 * four, true);
      word |= ((pairs >>> 2 * (i >> 1)) & PAIRS) << 2 * four;
    }
    codes[to + i] = word;
  }
}
