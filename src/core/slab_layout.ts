import { alignUp } from "../base/math.ts";

/** How one group's blocks lie in a slab. */
export interface SlabCut {
  /** Bytes of a block that hold something. */
  readonly blockBytes: number;
  /** Bytes from one block to the next; what exceeds `blockBytes` is padding. */
  readonly strideBytes: number;
  /** `slabBytes / strideBytes`, a whole number. */
  readonly blocksPerSlab: number;
}

/**
 * How memory is cut in two levels, so that groups whose blocks differ in size share one pool.
 *
 *     pool    | slab 0                | slab 1                | slab 2                |  tail
 *     group A | 0     | 1     | 2     | 3     | 4     | 5     |         ...
 *     group B | 0         | 1         | 2         | 3         |         ...
 *
 * A slab is a whole number of blocks of every group, and belongs to one group at a time. So block
 * `id` of a group lies at byte `id * strideBytes` of the pool as if the pool were that group's
 * alone, and a kernel needs nothing but the id. Blocks of different groups with the same id lie at
 * different bytes, unless one slab is one block of each.
 */
export interface SlabLayout {
  readonly slabBytes: number;
  /** One per group, in the groups' order. */
  readonly cuts: readonly SlabCut[];
}

/** Bounds of a slab layout. */
export interface SlabLayoutOptions {
  /** A stride is a multiple of this. Default 4: what a WebGPU buffer copy asks for. */
  readonly alignBytes?: number;
  /** Largest slab, in blocks of the smallest kind. Default 64. */
  readonly maxBlocksPerSlab?: number;
}

/**
 * Chooses the slab for groups with these block sizes, in bytes: the least common multiple (Jenga,
 * SOSP 2025, arXiv:2503.18292), which needs no padding.
 *
 * One that exceeds `maxBlocksPerSlab` smallest blocks would rarely empty, so blocks are padded
 * instead to the smallest slab with the least padding in its worst group. A slab is never less than
 * the largest block. Equal sizes give slabs of one block.
 *
 * @throws {RangeError} unless there are sizes, and all are positive integers.
 */
export function planSlabs(
  blockBytes: readonly number[],
  { alignBytes = 4, maxBlocksPerSlab = 64 }: SlabLayoutOptions = {},
): SlabLayout {
  if (blockBytes.length === 0) throw new RangeError("Cannot plan slabs for no groups");
  for (const bytes of blockBytes) {
    if (!Number.isSafeInteger(bytes) || bytes < 1) {
      throw new RangeError(`Cannot plan slabs for blocks of ${bytes} bytes: at least 1 is needed`);
    }
  }
  const sizes = blockBytes.map((bytes) => alignUp(bytes, alignBytes));
  const maxSlabBytes = Math.max(maxBlocksPerSlab * Math.min(...sizes), ...sizes);
  let slabBytes = 1;
  for (const size of sizes) {
    slabBytes = leastCommonMultiple(slabBytes, size);
    if (slabBytes > maxSlabBytes) return paddedLayout(blockBytes, sizes, alignBytes, maxSlabBytes);
  }
  return cutSlab(blockBytes, slabBytes, sizes);
}

function cutSlab(
  blockBytes: readonly number[],
  slabBytes: number,
  strides: readonly number[],
): SlabLayout {
  const cuts = blockBytes.map((bytes, group) => ({
    blockBytes: bytes,
    strideBytes: strides[group]!,
    blocksPerSlab: slabBytes / strides[group]!,
  }));
  return { slabBytes, cuts };
}

/** Tries the multiples of each size as the slab, so that one group at least needs no padding. */
function paddedLayout(
  blockBytes: readonly number[],
  sizes: readonly number[],
  alignBytes: number,
  maxSlabBytes: number,
): SlabLayout {
  const largest = Math.max(...sizes);
  const candidates = new Set<number>();
  for (const size of sizes) {
    for (let bytes = alignUp(largest, size); bytes <= maxSlabBytes; bytes += size) {
      candidates.add(bytes);
    }
  }
  let best: { slabBytes: number; strides: number[]; padding: number } | undefined;
  for (const slabBytes of [...candidates].sort((a, b) => a - b)) {
    const strides = sizes.map((size) => smallestStride(size, slabBytes, alignBytes));
    const padding = Math.max(...strides.map((stride, group) => 1 - sizes[group]! / stride));
    if (best === undefined || padding < best.padding) best = { slabBytes, strides, padding };
  }
  return cutSlab(blockBytes, best!.slabBytes, best!.strides);
}

/** Smallest aligned divisor of `slabBytes` that is at least `size`; at worst the whole slab. */
function smallestStride(size: number, slabBytes: number, alignBytes: number): number {
  let count = Math.floor(slabBytes / size);
  while (slabBytes % (count * alignBytes) !== 0) count--;
  return slabBytes / count;
}

function leastCommonMultiple(a: number, b: number): number {
  return a / greatestCommonDivisor(a, b) * b;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
