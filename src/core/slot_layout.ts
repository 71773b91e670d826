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

/** Where a layer's blocks lie: block `id` at byte `id * strideBytes + rowBytes` of its slot. */
export interface LayerPlace {
  /** Index of its cache group. */
  readonly group: number;
  readonly slot: number;
  readonly strideBytes: number;
  readonly rowBytes: number;
}

/**
 * How the layers of all cache groups lie in a few buffers, the layer slots.
 *
 *     slot 0  | slab 0                    | slab 1                    |  of group A: rows of layers
 *             | A0 A2 A4 | A0 A2 A4 | ... | B0 B2 | B0 B2 | B0 B2 ... |  0, 2, 4; of B: 0 and 2
 *     slot 1  | A1 A3 A5 | A1 A3 A5 | ... | B1 B3 | B1 B3 | B1 B3 ... |
 *
 * A slab is the same range of every slot and belongs to one group at a time, which cuts it into
 * blocks; in each of these every layer of the group in that slot has a row.
 */
export interface SlotLayout {
  /** Bytes of a slab in each slot; the same in all of them where there are several groups. */
  readonly slabBytes: readonly number[];
  /** Blocks of each group in a slab. */
  readonly blocksPerSlab: readonly number[];
  /** Of each layer that keeps something. */
  readonly places: ReadonlyMap<number, LayerPlace>;
}

/** Share of a group's memory that may be padding for the sake of more slots. */
const MAX_PADDING = 0.02;
/** Kernels load up to so many bytes at a time. */
const ALIGN_BYTES = 16;

/**
 * Lays one group's layers each over a slot of its own, where a slab is a block, and several groups
 * over as many slots as cost at most 2 % of padding in the group that has most of it: the more
 * slots, the more memory can be bound. Where no number of slots costs so little, the one with the
 * least padding is taken.
 *
 * @throws {RangeError} without groups.
 */
export function planSlots(groups: readonly GroupMemory[]): SlotLayout {
  if (groups.length === 0) throw new RangeError("Cannot plan slots for no groups");
  if (groups.length === 1) return slotPerLayer(groups[0]!);
  const most = Math.max(...groups.map(({ layers }) => layers.length));
  let best: { layout: SlotLayout; padding: number } | undefined;
  for (let numSlots = most; numSlots > 0; numSlots--) {
    const candidate = layOver(numSlots, groups);
    if (candidate.padding <= MAX_PADDING) return candidate.layout;
    if (best === undefined || candidate.padding < best.padding) best = candidate;
  }
  return best!.layout;
}

function slotPerLayer({ layers, blockBytes }: GroupMemory): SlotLayout {
  return {
    slabBytes: blockBytes,
    blocksPerSlab: [1],
    places: new Map(layers.map((layer, slot) => [
      layer,
      { group: 0, slot, strideBytes: blockBytes[slot]!, rowBytes: 0 },
    ])),
  };
}

/** The groups over so many slots, each layer in the next one, and the largest share of padding. */
function layOver(
  numSlots: number,
  groups: readonly GroupMemory[],
): { layout: SlotLayout; padding: number } {
  const rows = groups.map((group) => rowsOver(numSlots, group));
  const sizes = rows.map(({ bytes }) => bytes);
  // A state with many layers may be hundreds of blocks: then it is padded to whole ones.
  const maxBlocksPerSlab = Math.max(64, ceilDiv(Math.max(...sizes), Math.min(...sizes)));
  const slabs = planSlabs(sizes, { alignBytes: ALIGN_BYTES, maxBlocksPerSlab });
  const places = new Map<number, LayerPlace>();
  groups.forEach(({ layers }, group) => {
    const { strideBytes } = slabs.cuts[group]!;
    layers.forEach((layer, i) => {
      const rowBytes = rows[group]!.offsets[i]!;
      places.set(layer, { group, slot: i % numSlots, strideBytes, rowBytes });
    });
  });
  const shares = groups.map(({ blockBytes }, group) => {
    const used = blockBytes.reduce((sum, bytes) => sum + bytes, 0);
    return used / (numSlots * slabs.cuts[group]!.strideBytes);
  });
  const layout = {
    slabBytes: Array.from({ length: numSlots }, () => slabs.slabBytes),
    blocksPerSlab: slabs.cuts.map(({ blocksPerSlab }) => blocksPerSlab),
    places,
  };
  return { layout, padding: 1 - Math.min(...shares) };
}

/** Where each layer's row begins in its slot, and the bytes of a block in the fullest slot. */
function rowsOver(
  numSlots: number,
  { blockBytes }: GroupMemory,
): { offsets: number[]; bytes: number } {
  const ends = new Array<number>(numSlots).fill(0);
  const offsets = blockBytes.map((bytes, i) => {
    const slot = i % numSlots;
    const offset = ends[slot]!;
    ends[slot] = offset + bytes;
    return offset;
  });
  return { offsets, bytes: Math.max(...ends) };
}

/** Bytes of a block of `blockSize` positions, or of one state, in a layer with KV of `dtype`. */
function layerBlockBytes(
  cache: CacheSpec,
  dtype: KvFormat["dtype"],
  blockSize: number,
): number {
  if (cache.kind === "state") return cache.stateBytes;
  return blockSize * layerBytesPerToken({ ...cache, dtype });
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

/** Bytes of one slab in all slots together. */
export function slabBytesOf({ slabBytes }: SlotLayout): number {
  return slabBytes.reduce((sum, bytes) => sum + bytes, 0);
}

/** Slabs that so many blocks of each group take, those of one group never in another's. */
export function numSlabsFor(
  { blocksPerSlab }: Pick<SlotLayout, "blocksPerSlab">,
  numBlocks: readonly number[],
): number {
  return numBlocks.reduce((sum, count, group) => sum + ceilDiv(count, blocksPerSlab[group]!), 0);
}
