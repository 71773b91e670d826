import { StartupError } from "../core/errors.ts";
import type { StoredTensor } from "./dtypes.ts";
import type { QuantizedGroups } from "./pack_rows.ts";
import type { TensorInfo } from "./weights.ts";

/** Numbers of a block, in so many bytes; each block has one byte of scale elsewhere. */
export const MXFP4_BLOCK = { size: 32, bytes: 16 } as const;

/** The numbers of the codes of E2M1: sign, two bits of exponent, one of mantissa. */
const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6];

/** What half of a scale must be to be an f16: 2^-24 to 2^15, by the scale's byte. */
const F16_SCALES = { min: 104, max: 143 };

/** A tensor that two of a file make up. */
export interface Mxfp4Tensor<T> {
  readonly info: TensorInfo;
  /** U8 [.., K / 32, 16], two codes a byte, the low half first. */
  readonly blocks: T;
  /** U8 [.., K / 32]: powers of two, 127 for 1. */
  readonly scales: T;
}

/**
 * The tensor NAME of NAME_blocks and NAME_scales, as gpt-oss's checkpoints have the matrices of
 * experts in MXFP4 (OCP Microscaling Formats 1.0, 2023).
 *
 * @throws {StartupError} naming the tensors, where their shapes do not belong together.
 */
export function mxfp4Info(blocks: StoredTensor, scales: StoredTensor, file: string): TensorInfo {
  const [shape, groups] = [blocks.shape, scales.shape];
  const fits = shape.length === groups.length + 1 && shape.length > 2 &&
    shape.at(-1) === MXFP4_BLOCK.bytes && groups.every((extent, i) => extent === shape[i]);
  if (!fits) {
    throw new StartupError(
      `${file}: tensor ${JSON.stringify(blocks.name)} has shape [${shape.join(", ")}] and ` +
        `${JSON.stringify(scales.name)} [${groups.join(", ")}]: must be a scale for each ` +
        `${MXFP4_BLOCK.bytes} bytes of blocks`,
    );
  }
  const numElements = scales.numElements * MXFP4_BLOCK.size;
  return {
    name: blocks.name.replace(/_blocks$/, ""),
    dtype: "F32",
    shape: [...groups.slice(0, -1), groups.at(-1)! * MXFP4_BLOCK.size],
    numElements,
    bytes: 4 * numElements,
    blocks: { name: "MXFP4", nearest: { method: "int8", groupSize: 32 } },
  };
}

/** The numbers of whole blocks; not numbers where a scale is 255. */
export function decodeMxfp4(blocks: Uint8Array, scales: Uint8Array): Float32Array<ArrayBuffer> {
  const values = new Float32Array(scales.length * MXFP4_BLOCK.size);
  for (const [block, exponent] of scales.entries()) {
    const scale = exponent === 255 ? NaN : 2 ** (exponent - 127);
    eachCode(blocks, block, (i, code) => values[i] = scale * E2M1[code]!);
  }
  return values;
}

/**
 * Whole blocks as int8 codes and scales in groups of 32, without a loss: codes are halves, so that
 * twice a code is whole. Undefined where half of a scale is no f16.
 */
export function mxfp4Groups(blocks: Uint8Array, scales: Uint8Array): QuantizedGroups | undefined {
  if (scales.some((byte) => byte < F16_SCALES.min || byte > F16_SCALES.max)) return undefined;
  const codes = new Uint8Array(scales.length * MXFP4_BLOCK.size);
  for (const block of scales.keys()) {
    eachCode(blocks, block, (i, code) => codes[i] = 2 * E2M1[code]!);
  }
  return { codes, scales: Float16Array.from(scales, (byte) => 2 ** (byte - 128)) };
}

function eachCode(
  blocks: Uint8Array,
  block: number,
  visit: (index: number, code: number) => void,
): void {
  for (let j = 0; j < MXFP4_BLOCK.bytes; j++) {
    const pair = blocks[block * MXFP4_BLOCK.bytes + j]!;
    const at = block * MXFP4_BLOCK.size + 2 * j;
    visit(at, pair & 15);
    visit(at + 1, pair >> 4);
  }
}
