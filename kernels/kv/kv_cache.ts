import { invariant } from "../../src/base/invariant.ts";
import type { KvCacheDtype } from "../../src/core/engine_config.ts";
import { layerBytesPerToken, vectorBytes } from "../../src/core/kv_layout.ts";
import { f16BitsToF32, f32ToF16Bits } from "../../src/base/float_bits.ts";
import { firstRead, type ReadSpan } from "../../src/core/read_span.ts";
import type { HostBuffer } from "../../src/device/host_buffer.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import { KV_DTYPES } from "./dtypes.ts";
import { decodeVector, encodeVector } from "./kv_codes.ts";

/**
 * One layer's KV: G heads of D elements, blocks as `src/core/kv_layout.ts` has them, where they lie
 * in a buffer, and which of them a query reads.
 */
export type KvShape =
  & Readonly<{ G: number; D: number; BLOCK_SIZE: number; KV_DTYPE: KvCacheDtype }>
  & Partial<KvPlace>
  & Partial<KvReads>;

/**
 * Where a layer's part of block `id` lies: `id * STRIDE + LAYER_OFFSET` words into the buffer.
 * Several layers of a group may share a buffer, each with a part of its own in every block.
 */
export type KvPlace = Readonly<{
  /** Index of the layer's cache group, whose tables and slots these are; default 0. */
  GROUP: number;
  /** u32 words from one block to the next, a multiple of 4; default: those of one block. */
  STRIDE: number;
  /** u32 words from there to the layer's own, a multiple of 4; default 0. */
  LAYER_OFFSET: number;
}>;

/** Which positions a query reads, as `ReadSpan` (`src/core/read_span.ts`) has them. */
export type KvReads = Readonly<{
  /** How many of the last ones, its own included; default, and 0: all of them. */
  WINDOW: number;
  /** Whether these are those of its own chunk of WINDOW positions, in place of the last ones. */
  IS_CHUNKED: boolean;
  /** First positions that every query reads besides; default 0. */
  NUM_SINKS: number;
}>;

/** A layer's KV on a device, as kernels take it. */
export interface LayerKv {
  readonly buffer: DeviceBuffer;
  readonly shape: KvShape;
}

/** The place of a shape's blocks, checked. */
export function kvPlace(shape: KvShape): KvPlace {
  const { GROUP = 0, STRIDE = kvBlockWords(shape), LAYER_OFFSET = 0 } = shape;
  const end = LAYER_OFFSET + kvBlockWords(shape);
  invariant(
    STRIDE % 4 === 0 && LAYER_OFFSET % 4 === 0 && end <= STRIDE,
    `a layer's words ${LAYER_OFFSET} to ${end} in blocks of ${STRIDE} words`,
  );
  return { GROUP, STRIDE, LAYER_OFFSET };
}

/** What queries of a shape read. */
export function kvReads(
  { WINDOW = 0, IS_CHUNKED = false, NUM_SINKS = 0 }: Partial<KvReads>,
): KvReads {
  return { WINDOW, IS_CHUNKED, NUM_SINKS };
}

/** The same as {@link kvReads}, as definitions take it. */
export function spanOf(reads: Partial<KvReads>): ReadSpan {
  const { WINDOW: window, IS_CHUNKED: isChunked, NUM_SINKS: numSinkTokens } = kvReads(reads);
  return { window, isChunked, numSinkTokens };
}

/** K (0) or V (1) of one KV head at one position's slot. */
export interface KvVector {
  readonly slot: number;
  readonly which: 0 | 1;
  readonly head: number;
}

/** Positions `[begin, end)` that the query at `position` reads, ascending. */
export function positionsRead(
  reads: Partial<KvReads>,
  position: number,
  [begin, end]: readonly [number, number],
): number[] {
  const span = spanOf(reads);
  const first = firstRead(span, position);
  const positions: number[] = [];
  for (let p = begin; p < end; p++) {
    if (p >= first || p < span.numSinkTokens) positions.push(p);
  }
  return positions;
}

/** u32 words of one block in one layer, its scales included; a multiple of 4. */
export function kvBlockWords({ G, D, BLOCK_SIZE, KV_DTYPE }: KvShape): number {
  const bytes = layerBytesPerToken({ numKvHeads: G, headDim: D, dtype: KV_DTYPE }) * BLOCK_SIZE;
  invariant(bytes % 16 === 0, `a block of ${bytes} bytes is no multiple of 16`);
  return bytes / 4;
}

/**
 * u32 words `[first, end)` of a vector's elements, and that of its scale, which plain dtypes lack.
 */
export function kvWords({ slot, which, head }: KvVector, shape: KvShape): {
  first: number;
  end: number;
  scale: number;
} {
  const { G, BLOCK_SIZE } = shape;
  const { STRIDE = kvBlockWords(shape), LAYER_OFFSET = 0 } = shape;
  const block = Math.floor(slot / BLOCK_SIZE) * STRIDE + LAYER_OFFSET;
  const vector = (which * G + head) * BLOCK_SIZE + slot % BLOCK_SIZE;
  const vectorWords = kvVectorWords(shape);
  return {
    first: block + vector * vectorWords,
    end: block + (vector + 1) * vectorWords,
    scale: block + 2 * G * BLOCK_SIZE * vectorWords + vector,
  };
}

/** u32 words of one vector's elements. */
export function kvVectorWords({ D, KV_DTYPE }: Pick<KvShape, "D" | "KV_DTYPE">): number {
  return vectorBytes(D, KV_DTYPE) / 4;
}

/** Reads a vector's D elements into `values`, from its element `to` on. */
export function loadKv(
  kv: HostBuffer,
  at: KvVector,
  shape: KvShape,
  values: Float32Array,
  to = 0,
): void {
  const { D, KV_DTYPE } = shape;
  const { first, end, scale } = kvWords(at, shape);
  if (KV_DTYPE === "f32") {
    for (let d = 0; d < D; d++) values[to + d] = kv.f32[first + d]!;
  } else if (KV_DTYPE === "f16") {
    for (let d = 0; d < D; d++) values[to + d] = f16BitsToF32(kv.u16[2 * first + d]!);
  } else {
    const bytes = kv.u8.subarray(4 * first, 4 * end);
    decodeVector(bytes, KV_DTYPE, kv.f32[scale]!, values.subarray(to, to + D));
  }
}

/** Writes a vector's D elements, rounded to the buffer's dtype, and its scale. */
export function storeKv(kv: HostBuffer, at: KvVector, shape: KvShape, values: Float32Array): void {
  const { KV_DTYPE } = shape;
  const { first, end, scale } = kvWords(at, shape);
  if (KV_DTYPE === "f32") kv.f32.set(values, first);
  else if (KV_DTYPE === "f16") {
    values.forEach((value, d) => kv.u16[2 * first + d] = f32ToF16Bits(value));
  } else {
    kv.f32[scale] = encodeVector(values, KV_DTYPE, kv.u8.subarray(4 * first, 4 * end));
  }
}

/** Constants of kernels that read the pool, besides the shape itself. */
export type KvConstants = Readonly<{
  /** Loads of one vector's elements; a load is one element of the WGSL array. */
  VECTOR_LOADS: number;
  /** Loads from one block to the next, and to the layer's row in each. */
  STRIDE_LOADS: number;
  LAYER_OFFSET_LOADS: number;
  /** Groups of four elements in one load. */
  LOAD_QUADS: number;
  KV_SCALED: boolean;
}>;

/** Words of a lane's widest load. */
const WIDE_WORDS = 4;

/**
 * The constants that follow from a shape; with `isWide`, lanes load 16 bytes where the dtype and a
 * vector allow.
 */
export function kvConstants(shape: KvShape, isWide = false): KvConstants {
  const { loadWords, loadsWide, scaleBytes } = KV_DTYPES[shape.KV_DTYPE];
  const canBeWide = loadsWide && kvVectorWords(shape) % WIDE_WORDS === 0;
  const words = isWide && canBeWide ? WIDE_WORDS : loadWords;
  const loads = kvVectorWords(shape) / words;
  const { STRIDE, LAYER_OFFSET } = kvPlace(shape);
  return {
    VECTOR_LOADS: loads,
    STRIDE_LOADS: STRIDE / words,
    LAYER_OFFSET_LOADS: LAYER_OFFSET / words,
    LOAD_QUADS: shape.D / 4 / loads,
    KV_SCALED: scaleBytes > 0,
  };
}
