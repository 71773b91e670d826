import { StartupError } from "../core/errors.ts";
import type { StoredTensor } from "./dtypes.ts";
import { E2M1, e8m0Value, f16ScaleOf } from "./mxfp4_codes.ts";
import type { QuantizedGroups } from "./pack_rows.ts";
import type { TensorInfo } from "./checkpoint.ts";

/** Numbers of a block, in so many bytes; each block has one byte of scale elsewhere. */
export const MXFP4_BLOCK = { size: 32, bytes: 16 } as const;

/** A tensor that a file has as two. */
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

/** The numbers of whole blocks; NaN where a scale is 255. */
export function decodeMxfp4(blocks: Uint8Array, scales: Uint8Array): Float32Array<ArrayBuffer> {
  const values = new Float32Array(scales.length * MXFP4_BLOCK.size);
  for (const [block, byte] of scales.entries()) {
    const scale = e8m0Value(byte);
    eachCode(blocks, block, (i, code) => values[i] = scale * E2M1[code]!);
  }
  return values;
}

/**
 * Whole blocks as int8 codes and scales in groups of 32, without a loss: codes are halves, so that
 * twice a code is whole. Undefined where half of a scale is no f16.
 */
export function mxfp4Groups(blocks: Uint8Array, scales: Uint8Array): QuantizedGroups | undefined {
  const halves = new Float16Array(scales.length);
  for (const [block, byte] of scales.entries()) {
    const half = f16ScaleOf(byte);
    if (half === undefined) return undefined;
    halves[block] = half;
  }
  const codes = new Uint8Array(scales.length * MXFP4_BLOCK.size);
  for (const block of scales.keys()) {
    eachCode(blocks, block, (i, code) => codes[i] = 2 * E2M1[code]!);
  }
  return { codes, scales: halves };
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
