import { ceilDiv } from "../base/math.ts";
import { type CacheGroup, type CacheSpec } from "./cache_group.ts";
import { type KvFormat, layerBytesPerToken, layerDtype } from "./kv_layout.ts";
import { planSlabs } from "./slab_layout.ts";

/** One cache group, as far as its memory goes. */
export interface GroupMemory {
  /** Its layers, ascending. */
  readonly layers: readonly number[];
  /** Bytes of one block in each of them, in their order; positive multiples of 16. */
  readonly blockBytes: readonly number[];
}

/**
 * Where a layer's part of block `id` lies: at byte `id * strideBytes + offsetBytes` of a buffer.
 */
export interface LayerLayout {
  /** Index of its cache group. */
  readonly group: number;
  /** Index of its KV buffer. */
  readonly buffer: number;
  readonly strideBytes: number;
  readonly offsetBytes: number;
}

/**
 * How the layers of all cache groups lie in a few buffers of the device, the pool's KV buffers.
 *
 *     buffer 0  | slab 0                    | slab 1                    |  group A: layers 0 to 5
 *               | A0 A2 A4 | A0 A2 A4 | ... | B0 B2 | B0 B2 | B0 B2 ... |  group B: layers 0 to 3
 *     buffer 1  | A1 A3 A5 | A1 A3 A5 | ... | B1 B3 | B1 B3 | B1 B3 ... |
 *
 * A slab is the same range of every buffer and belongs to one group at a time, which cuts it into
 * blocks; in each of these every layer of the group in that buffer has a part.
 */
export interface KvBufferLayout {
  /** Bytes of a slab in each buffer; the same in all of them where there are several groups. */
  readonly slabBytes: readonly number[];
  /** Blocks of each group in a slab. */
  readonly blocksPerSlab: readonly number[];
  /** Of each layer that keeps something. */
  readonly layerLayouts: ReadonlyMap<number, LayerLayout>;
}

/** Share of a group's memory that may be padding for the sake of more buffers. */
const MAX_PADDING = 0.02;
/** Kernels load up to so many bytes at a time. */
const ALIGN_BYTES = 16;

/**
 * Lays one group's layers each over a buffer of its own, where a slab is a block, and several
 * groups over as many buffers as cost at most 2 % of padding in the group that has most of it: the
 * more buffers, the more memory can be bound. Where no number of buffers costs so little, the one
 * with the least padding is taken.
 *
 * @throws {RangeError} without groups.
 */
export function planKvBuffers(groups: readonly GroupMemory[]): KvBufferLayout {
  if (groups.length === 0) throw new RangeError("Cannot plan buffers for no groups");
  if (groups.length === 1) return bufferPerLayer(groups[0]!);
  const most = Math.max(...groups.map(({ layers }) => layers.length));
  let best: { layout: KvBufferLayout; padding: number } | undefined;
  for (let numBuffers = most; numBuffers > 0; numBuffers--) {
    const candidate = layOver(numBuffers, groups);
    if (candidate.padding <= MAX_PADDING) return candidate.layout;
    if (best === undefined || candidate.padding < best.padding) best = candidate;
  }
  return best!.layout;
}

function bufferPerLayer({ layers, blockBytes }: GroupMemory): KvBufferLayout {
  return {
    slabBytes: blockBytes,
    blocksPerSlab: [1],
    layerLayouts: new Map(layers.map((layer, buffer) => [
      layer,
      { group: 0, buffer, strideBytes: blockBytes[buffer]!, offsetBytes: 0 },
    ])),
  };
}

/** The groups over so many buffers, each layer in the next, and the largest share of padding. */
function layOver(
  numBuffers: number,
  groups: readonly GroupMemory[],
): { layout: KvBufferLayout; padding: number } {
  const parts = groups.map((group) => offsetsOver(numBuffers, group));
  const sizes = parts.map(({ bytes }) => bytes);
  // A state with many layers may be hundreds of blocks: then it is padded to whole ones.
  const maxBlocksPerSlab = Math.max(64, ceilDiv(Math.max(...sizes), Math.min(...sizes)));
  const slabs = planSlabs(sizes, { alignBytes: ALIGN_BYTES, maxBlocksPerSlab });
  const layerLayouts = new Map<number, LayerLayout>();
  groups.forEach(({ layers }, group) => {
    const { strideBytes } = slabs.cuts[group]!;
    layers.forEach((layer, i) => {
      const offsetBytes = parts[group]!.offsets[i]!;
      layerLayouts.set(layer, { group, buffer: i % numBuffers, strideBytes, offsetBytes });
    });
  });
  const shares = groups.map(({ blockBytes }, group) => {
    const used = blockBytes.reduce((sum, bytes) => sum + bytes, 0);
    return used / (numBuffers * slabs.cuts[group]!.strideBytes);
  });
  const layout = {
    slabBytes: Array.from({ length: numBuffers }, () => slabs.slabBytes),
    blocksPerSlab: slabs.cuts.map(({ blocksPerSlab }) => blocksPerSlab),
    layerLayouts,
  };
  return { layout, padding: 1 - Math.min(...shares) };
}

/** Where each layer's part of a block begins, and the bytes of a block in the fullest buffer. */
function offsetsOver(
  numBuffers: number,
  { blockBytes }: GroupMemory,
): { offsets: number[]; bytes: number } {
  const ends = new Array<number>(numBuffers).fill(0);
  const offsets = blockBytes.map((bytes, i) => {
    const buffer = i % numBuffers;
    const offset = ends[buffer]!;
    ends[buffer] = offset + bytes;
    return offset;
  });
  return { offsets, bytes: Math.max(...ends) };
}

/** Bytes of a block of `blockSize` positions, or of one state, in a layer with KV of `dtype`. */
function layerBlockBytes(
  spec: CacheSpec,
  dtype: KvFormat["dtype"],
  blockSize: number,
): number {
  if (spec.kind === "state") return spec.stateBytes;
  return blockSize * layerBytesPerToken({ ...spec, dtype });
}

/**
 * The memory of a model's groups, its first and last layer in the dtype that `format` gives these.
 *
 * @param numLayers of the model, those without KV of their own included.
 */
export function groupMemory(
  groups: readonly CacheGroup[],
  format: KvFormat,
  { numLayers, blockSize }: { readonly numLayers: number; readonly blockSize: number },
): GroupMemory[] {
  return groups.map((group) => ({
    layers: group.layers,
    blockBytes: group.layers.map((layer) => {
      const dtype = layerDtype(format, layer === 0 || layer === numLayers - 1);
      return layerBlockBytes(group, dtype, blockSize);
    }),
  }));
}

/** Bytes of one slab in all buffers together. */
export function slabBytesOf({ slabBytes }: KvBufferLayout): number {
  return slabBytes.reduce((sum, bytes) => sum + bytes, 0);
}

/** Slabs that so many blocks of each group take, those of one group never in another's. */
export function numSlabsFor(
  { blocksPerSlab }: Pick<KvBufferLayout, "blocksPerSlab">,
  numBlocks: readonly number[],
): number {
  return numBlocks.reduce((sum, count, group) => sum + ceilDiv(count, blocksPerSlab[group]!), 0);
}
