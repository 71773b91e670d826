import type { IntDtype } from "../../core/weight_format.ts";
import { f16ScaleOf } from "../mxfp4_codes.ts";
import type { QuantizedGroups } from "../pack_rows.ts";
import { halfAt } from "./block.ts";
import type { BlockType } from "./tensor_types.ts";

/** Numbers of one group of the device's formats. */
const GROUP = 32;

/** The bits of 1 as f16, low byte first. */
const ONE = [0x00, 0x3c];

/** Bytes of their blocks at which types whose numbers are codes times one f16 have it. */
const SCALE_AT: Readonly<Record<string, number>> = {
  Q4_0: 0,
  Q5_0: 0,
  Q8_0: 0,
  IQ4_NL: 0,
  TQ1_0: 52,
  TQ2_0: 64,
};

/**
 * Blocks as codes and scales of the format that they become, where their numbers are whole
 * multiples of one scale: nothing is rounded. Undefined for other types, and for scales of MXFP4
 * that are no f16.
 *
 * Costs what dequantizing does, and of Q8_0 as int8 what copying does.
 *
 * @param bytes whole blocks; their scales are overwritten.
 */
export function storedGroups(
  type: BlockType,
  bytes: Uint8Array,
  dtype: IntDtype,
): QuantizedGroups | undefined {
  if (type.name === "Q8_0" && dtype === "int8g32") return int8Groups(bytes, type);
  const numBlocks = bytes.byteLength / type.blockBytes;
  const groupsPerBlock = type.blockSize / GROUP;
  const codes = new Uint8Array(numBlocks * type.blockSize);
  const scales = new Float16Array(numBlocks * groupsPerBlock);
  const multiples = new Float32Array(type.blockSize);
  // int4 counts its codes from 8 below zero; int8 has them in two's complement.
  const shift = dtype.startsWith("int4") ? 8 : 0;
  for (let block = 0; block < numBlocks; block++) {
    const at = block * type.blockBytes;
    const scale = takeScale(type.name, bytes, at);
    if (scale === undefined) return undefined;
    scales.fill(scale, block * groupsPerBlock, (block + 1) * groupsPerBlock);
    type.decode(bytes, at, multiples, 0);
    const first = block * type.blockSize;
    for (let i = 0; i < type.blockSize; i++) codes[first + i] = multiples[i]! + shift;
  }
  return { codes, scales };
}

/** Blocks of a scale and codes as int8 has them. */
function int8Groups(bytes: Uint8Array, { blockSize, blockBytes }: BlockType): QuantizedGroups {
  const numBlocks = bytes.byteLength / blockBytes;
  const codes = new Uint8Array(numBlocks * blockSize);
  const scales = new Uint16Array(numBlocks);
  let at = 0;
  let to = 0;
  for (let block = 0; block < numBlocks; block++) {
    scales[block] = bytes[at]! | bytes[at + 1]! << 8;
    at += 2;
    for (let i = 0; i < blockSize; i++) codes[to++] = bytes[at++]!;
  }
  return { codes, scales: new Float16Array(scales.buffer) };
}

/** Whether the numbers of a type are whole multiples of scales. */
export function hasStoredGroups(type: BlockType): boolean {
  return type.name in SCALE_AT || type.name === "MXFP4";
}

/** The scale of the block at `at`, which it replaces by one under which the codes are decoded. */
function takeScale(name: string, bytes: Uint8Array, at: number): number | undefined {
  if (name === "MXFP4") {
    const scale = f16ScaleOf(bytes[at]!);
    // Its codes are halves: those of scale 2 are whole.
    bytes[at] = 128;
    return scale;
  }
  const place = at + SCALE_AT[name]!;
  const scale = halfAt(bytes, place);
  bytes.set(ONE, place);
  return scale;
}
