import { invariant } from "../../base/invariant.ts";
import { ceilDiv } from "../../base/math.ts";
import type { BlockId, SequenceId } from "../../core/ids.ts";
import { SlabBlocks } from "./slab_blocks.ts";
import type { SlabLayout } from "../../core/slab_layout.ts";

/** What a sequence asks of the pool in one go, per group. */
export interface Demand {
  /** Free blocks to take. */
  readonly counts: readonly number[];
  /** Marked blocks to retain first, each at most once; absent means none. */
  readonly hits?: readonly (readonly BlockId[])[];
}

/** Where the bytes of the pool are; the first four add up to the last. */
export interface PoolUsage {
  readonly freeBytes: number;
  /** Unused content that a hit may still find. */
  readonly cachedBytes: number;
  readonly usedBytes: number;
  /** What strides add to used and cached blocks, and the pool's end that is less than a slab. */
  readonly paddingBytes: number;
  readonly poolBytes: number;
}

/** Learns that a block's content is gone, so that nothing hits it any more. */
export type EvictionListener = (group: number, id: BlockId) => void;

/**
 * One pool of memory for groups whose blocks differ in size.
 *
 * Slabs are handed to groups and cut into their blocks (Jenga, SOSP 2025, arXiv:2503.18292). For
 * each block the first of these that there is:
 *
 *     1. a free block in a slab opened for the same sequence and group
 *     2. a free slab
 *     3. the wholly evictable slab used longest ago, of any group
 *     4. a free block in any slab of the group
 *     5. the cached block of the group used longest ago
 *
 * So a slab's blocks mostly belong to one sequence, become free together, and the slab is any
 * group's again. Where all blocks have one size, a slab is a block and 1, 4 and 5 do not occur: a
 * free list and one LRU list are left.
 *
 * A request for several groups at once gets all or nothing. Costs are O(blocks passed).
 */
export class SlabPool {
  readonly layout: SlabLayout;
  readonly poolBytes: number;
  readonly #blocks: SlabBlocks;
  readonly #onEvict: EvictionListener;

  /** As many slabs as fit into `poolBytes`, at least one. */
  constructor(layout: SlabLayout, poolBytes: number, onEvict: EvictionListener = () => {}) {
    const numSlabs = Math.floor(poolBytes / layout.slabBytes);
    this.layout = layout;
    this.poolBytes = poolBytes;
    this.#blocks = new SlabBlocks(numSlabs, layout.cuts.map((cut) => cut.blocksPerSlab));
    this.#onEvict = onEvict;
  }

  /** Slabs in the pool. */
  get numSlabs(): number {
    return this.#blocks.slabs.numSlabs;
  }

  /** Slabs that are free or can be evicted as a whole: what any group may still have. */
  get numAvailableSlabs(): number {
    return this.#blocks.slabs.numFree + this.#blocks.slabs.numEvictable;
  }

  /** Owners that have had a slab cut into several blocks and have not been forgotten. */
  get numOwners(): number {
    return this.#blocks.slabs.numOwners;
  }

  /** Most blocks that `group` could still get if no other group took any. */
  numAvailable(group: number): number {
    const { blocksPerSlab } = this.#blocks.slabs;
    return this.numAvailableSlabs * blocksPerSlab[group]! + this.#numInUsed(group);
  }

  /** References held on a block of `group`, which must have its slab. */
  refCount(group: number, id: BlockId): number {
    return this.#blocks.refCount(group, id);
  }

  /** Whether a block's content may be hit; false for one whose slab has gone elsewhere. */
  isMarked(group: number, id: BlockId): boolean {
    const isOwn = this.#blocks.slabs.groupOf(this.#blocks.slabOf(group, id)) === group;
    return isOwn && this.#blocks.isMarked(group, id);
  }

  /** The logical moment of a cached block's last release; blocks of any group compare. */
  lastUsed(group: number, id: BlockId): number {
    return this.#blocks.lastUsed(group, id);
  }

  /** Where the bytes are. O(pool). */
  usage(): PoolUsage {
    const { slabs } = this.#blocks;
    let [freeBytes, cachedBytes, usedBytes] = [slabs.numFree * this.layout.slabBytes, 0, 0];
    let paddingBytes = this.poolBytes - this.numSlabs * this.layout.slabBytes;
    for (let slab = 0; slab < this.numSlabs; slab++) {
      const group = slabs.groupOf(slab);
      if (group === undefined) continue;
      const { blockBytes, strideBytes } = this.layout.cuts[group]!;
      for (const id of this.#blocks.blocksOf(slab)) {
        const isUsed = this.#blocks.refCount(group, id) > 0;
        const isCached = !isUsed && this.#blocks.isMarked(group, id);
        if (isUsed) usedBytes += blockBytes;
        else if (isCached) cachedBytes += blockBytes;
        else freeBytes += strideBytes;
        if (isUsed || isCached) paddingBytes += strideBytes - blockBytes;
      }
    }
    return { freeBytes, cachedBytes, usedBytes, paddingBytes, poolBytes: this.poolBytes };
  }

  /**
   * Whether {@link tryAllocate} would succeed and leave `numKeptSlabs` slabs available. Changes
   * nothing. O(hits).
   */
  canAllocate(demand: Demand, numKeptSlabs = 0): boolean {
    const { slabs } = this.#blocks;
    const numInUsed = demand.counts.map((_, group) => this.#numInUsed(group));
    let numSlabs = this.numAvailableSlabs - numKeptSlabs;
    demand.hits?.forEach((ids, group) => {
      const pinned = new Set<number>();
      for (const id of ids) {
        if (this.refCount(group, id) > 0) continue;
        const slab = this.#blocks.slabOf(group, id);
        // The hits keep their slab, and leave the rest of it to their group alone.
        if (slabs.isEvictable(slab) && !pinned.has(slab)) {
          pinned.add(slab);
          numSlabs--;
          numInUsed[group]! += slabs.blocksPerSlab[group]!;
        }
        numInUsed[group]!--;
      }
    });
    return this.#numSlabsNeeded(demand.counts, numInUsed).reduce((a, b) => a + b) <= numSlabs;
  }

  /**
   * Retains `demand.hits` and then takes `demand.counts` free blocks for `owner`, in all groups or
   * in none; returns the blocks taken, per group.
   *
   * Two phases, so that no group evicts what another is about to use. A group that could do with
   * fewer slabs leaves those that another cannot do without.
   */
  tryAllocate(owner: SequenceId, demand: Demand): BlockId[][] | undefined {
    if (!this.canAllocate(demand)) return undefined;
    demand.hits?.forEach((ids, group) => this.retain(group, ids));
    const numInUsed = demand.counts.map((_, group) => this.#numInUsed(group));
    const numNeeded = this.#numSlabsNeeded(demand.counts, numInUsed);
    let numSpare = this.numAvailableSlabs - numNeeded.reduce((a, b) => a + b);
    const taken = demand.counts.map((count, group) => {
      const ids: BlockId[] = [];
      let numSlabs = numNeeded[group]! + numSpare;
      while (ids.length < count) {
        let slab = this.#blocks.slabs.ownPartial(group, owner);
        if (slab === undefined && numSlabs > 0) {
          slab = this.#openSlab(group, owner);
          numSlabs--;
        }
        if (slab === undefined) break;
        ids.push(this.#blocks.take(group, slab));
      }
      numSpare = Math.min(numSpare, numSlabs);
      return ids;
    });
    // Only groups that found no slab left are still short, so each cached block is in a used slab.
    taken.forEach((ids, group) => {
      while (ids.length < demand.counts[group]!) ids.push(this.#takeAny(group));
    });
    return taken;
  }

  /** Adds one reference to each block of `group`; none may be free. */
  retain(group: number, ids: readonly BlockId[]): void {
    for (const id of ids) this.#blocks.retain(group, id);
  }

  /**
   * Starts the next moment of the one clock. What is released until then counts as used together.
   */
  tick(): void {
    this.#blocks.tick();
  }

  /**
   * Drops one reference. With the last one a marked block stays as cached, to be evicted after all
   * released before it; so within one moment the deepest block of a prefix goes first.
   */
  release(group: number, id: BlockId): void {
    this.#blocks.release(group, id);
  }

  /** Lets the content of a used block be hit, now and after its last use. */
  mark(group: number, id: BlockId): void {
    this.#blocks.mark(group, id);
  }

  /** Ends that; an unused block is free at once. The listener is not called. */
  unmark(group: number, id: BlockId): void {
    this.#blocks.unmark(group, id);
  }

  /** Says that `owner` will ask for nothing more. */
  forgetOwner(owner: SequenceId): void {
    this.#blocks.slabs.forgetOwner(owner);
  }

  /** Audit: both levels agree, and free, cached, used and padding bytes add up. O(pool). */
  checkIntegrity(): void {
    this.#blocks.checkIntegrity();
    const usage = this.usage();
    const { freeBytes, cachedBytes, usedBytes, paddingBytes } = usage;
    invariant(
      freeBytes + cachedBytes + usedBytes + paddingBytes === this.poolBytes,
      `bytes of the pool do not add up: ${JSON.stringify(usage)}`,
    );
  }

  /** Blocks of `group` that are available without opening a slab. */
  #numInUsed(group: number): number {
    return this.#blocks.slabs.numFreeInUsed(group) + this.#blocks.slabs.numCachedInUsed(group);
  }

  /** Fewest slabs each group can do with, given what it gets without one. */
  #numSlabsNeeded(counts: readonly number[], numInUsed: readonly number[]): number[] {
    return counts.map((count, group) =>
      ceilDiv(Math.max(0, count - numInUsed[group]!), this.#blocks.slabs.blocksPerSlab[group]!)
    );
  }

  #openSlab(group: number, owner: SequenceId): number {
    const { slabs } = this.#blocks;
    if (slabs.numFree === 0) {
      const slab = slabs.oldestEvictable()!;
      const evicted = slabs.groupOf(slab)!;
      const count = slabs.blocksPerSlab[evicted]!;
      this.#evict(evicted, slab * count, (slab + 1) * count);
    }
    return this.#blocks.open(group, owner);
  }

  #takeAny(group: number): BlockId {
    const { slabs } = this.#blocks;
    let slab = slabs.anyPartial(group);
    if (slab === undefined) {
      const id = this.#blocks.oldestCached(group)!;
      this.#evict(group, id, id + 1);
      slab = slabs.anyPartial(group)!;
    }
    return this.#blocks.take(group, slab);
  }

  /**
   * Unmarks the cached blocks among `[start, end)` of a slab, and tells the listener when all are.
   */
  #evict(group: number, start: BlockId, end: BlockId): void {
    const cached: BlockId[] = [];
    for (let id = start; id < end; id++) if (this.#blocks.isMarked(group, id)) cached.push(id);
    for (const id of cached) this.#blocks.unmark(group, id);
    for (const id of cached) this.#onEvict(group, id);
  }
}
