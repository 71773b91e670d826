import { InvariantError } from "../../base/invariant.ts";
import { ceilDiv } from "../../base/math.ts";
import { OutOfBlocksError } from "../../core/errors.ts";
import type { BlockId, SequenceId } from "../../core/ids.ts";
import { BlockRemap, type IdChange } from "./block_remap.ts";
import { addMark, dropMark, dropReference, MARK, REFERENCE } from "./block_state.ts";
import { FreeStacks } from "./free_stacks.ts";
import { type BlockNeed, type Demand, outOfBlocks, type Pool } from "./pool.ts";
import { checkSlabs, type SlabBlocks } from "./slab_audit.ts";
import { SlabGroups } from "./slab_groups.ts";

/**
 * A pool whose slabs are cut into several blocks (Jenga, arXiv:2503.18292).
 *
 *     slabs    | 0: full         | 1: window       | 2: free         |
 *     blocks   | f . f f . . f f | w     | w       |                 |
 *
 * Here are the references and marks of blocks, and which of a slab's are free; {@link SlabGroups}
 * has the slabs. What is taken is the first of these that there is:
 *
 *     1. a free block in a slab that was opened for the same sequence and group
 *     2. a free slab
 *     3. what becomes a free slab as idle blocks are evicted
 *     4. a free block in any slab of the group, be it after evictions
 *
 * So a slab is mostly one sequence's, and empties when that ends. Every operation costs O(blocks
 * passed). 8 bytes per block, beside what slabs take.
 */
export class SlabPool implements Pool {
  readonly #perSlab: Demand;
  readonly #maxPerSlab: number;
  readonly #slabs: SlabGroups;
  /** Twice the references of each block, and one more where it is marked; 0 means free. */
  #states: Uint32Array;
  #stacks: FreeStacks;

  /** `numSlabs` free slabs, each of which can become `perSlab[g]` blocks of group `g`. */
  constructor(numSlabs: number, perSlab: Demand) {
    this.#perSlab = perSlab;
    this.#maxPerSlab = Math.max(...perSlab);
    this.#slabs = new SlabGroups(numSlabs, perSlab);
    this.#states = new Uint32Array(numSlabs * this.#maxPerSlab);
    this.#stacks = new FreeStacks(numSlabs, this.#maxPerSlab);
  }

  get numBlocks(): number {
    return this.#states.length;
  }

  get numSlabs(): number {
    return this.#slabs.numSlabs;
  }

  get numFree(): number {
    return this.#slabs.numFree;
  }

  get numIdle(): number {
    return this.#slabs.numIdle;
  }

  refCount(id: BlockId): number {
    return this.#stateOf(id) >> 1;
  }

  isMarked(id: BlockId): boolean {
    return (this.#states[id]! & MARK) !== 0;
  }

  isIdle(id: BlockId): boolean {
    return this.#states[id] === MARK;
  }

  groupOf(id: BlockId): number {
    return this.#slabs.groupOf(this.#slabOf(id));
  }

  idInGroup(id: BlockId, group: number): BlockId {
    return Math.floor(id / this.#maxPerSlab) * this.#perSlab[group]! + id % this.#maxPerSlab;
  }

  numSlabsFor(demand: Demand): number {
    return demand.reduce((sum, count, group) => sum + ceilDiv(count, this.#perSlab[group]!), 0);
  }

  countMissing({ demand, hits = [], numHeadroomSlabs = 0 }: BlockNeed): number {
    const numInUsedSlabs = demand.map((_, group) => this.#slabs.numInUsedSlabs(group));
    const held = new Set<number>();
    for (const id of hits) {
      if (!this.isIdle(id)) continue;
      const slab = this.#slabOf(id);
      const group = this.#slabs.groupOf(slab);
      // The hits keep their slab, and leave the rest of it to their group alone.
      if (this.#slabs.isIdle(slab) && !held.has(slab)) {
        held.add(slab);
        numInUsedSlabs[group]! += this.#perSlab[group]!;
      }
      numInUsedSlabs[group]!--;
    }
    const numNeeded = this.#slabs.countNeeded(demand, numInUsedSlabs).reduce((a, b) => a + b, 0);
    return numNeeded + numHeadroomSlabs + held.size - this.numFree - this.numIdle;
  }

  retain(ids: readonly BlockId[]): void {
    for (const id of ids) {
      const state = this.#stateOf(id);
      if (state === 0) throw new InvariantError(`free block ${id} is retained`);
      this.#states[id] = state + REFERENCE;
      if (state === MARK) this.#slabs.change(this.#slabOf(id), 1, -1);
    }
  }

  release(ids: readonly BlockId[]): void {
    for (const id of ids) {
      const state = this.#stateOf(id);
      this.#states[id] = dropReference(state, id);
      if (state >= 2 * REFERENCE) continue;
      if (state === REFERENCE) this.#stacks.push(this.#slabOf(id), id);
      this.#slabs.change(this.#slabOf(id), -1, state === REFERENCE ? 0 : 1);
    }
  }

  mark(id: BlockId): void {
    this.#states[id] = addMark(this.#stateOf(id), id);
  }

  unmark(id: BlockId): void {
    const state = this.#stateOf(id);
    this.#states[id] = dropMark(state, id);
    if (state !== MARK) return;
    this.#stacks.push(this.#slabOf(id), id);
    this.#slabs.change(this.#slabOf(id), 0, -1);
  }

  /** A group opens more slabs than it needs only while enough are left for the other groups. */
  take(demand: Demand, sequence: SequenceId, evict: () => void = outOfBlocks): BlockId[][] {
    const numMissing = this.countMissing({ demand });
    if (numMissing > 0) throw new OutOfBlocksError(this.numSlabsFor(demand), this.numFree);
    const numInUsedSlabs = demand.map((_, group) => this.#slabs.numInUsedSlabs(group));
    const numNeeded = this.#slabs.countNeeded(demand, numInUsedSlabs);
    // The only sequence fills slabs in use first, so that it can have every block of the pool.
    let numSpare = this.#slabs.isAlone(sequence) ? 0 : -numMissing;
    const taken = demand.map((count, group) => {
      const ids: BlockId[] = [];
      let numSlabs = numNeeded[group]! + numSpare;
      while (ids.length < count) {
        let slab = this.#slabs.ownPartial(sequence, group);
        if (slab === undefined && numSlabs > 0) {
          while (this.numFree === 0) evict();
          slab = this.#open(group, sequence);
          numSlabs--;
        }
        if (slab === undefined) break;
        ids.push(this.#takeFrom(slab));
      }
      numSpare = Math.min(numSpare, numSlabs);
      return ids;
    });
    taken.forEach((ids, group) => {
      while (ids.length < demand[group]!) ids.push(this.#takeAny(group, evict));
    });
    return taken;
  }

  forgetSequence(sequence: SequenceId): void {
    this.#slabs.forgetSequence(sequence);
  }

  /** Slabs move whole. */
  planResize(numSlabs: number): BlockRemap {
    const moves: IdChange[] = [];
    for (const { from, to } of this.#slabs.planResize(numSlabs)) {
      for (let i = 0; i < this.#maxPerSlab; i++) {
        if (this.#states[from * this.#maxPerSlab + i] === 0) continue;
        moves.push({ from: from * this.#maxPerSlab + i, to: to * this.#maxPerSlab + i });
      }
    }
    return new BlockRemap(numSlabs * this.#maxPerSlab, moves);
  }

  resize(remap: BlockRemap): void {
    const maxPerSlab = this.#maxPerSlab;
    const targets = new Map(remap.moves.map((move) => [slabOf(move.from), slabOf(move.to)]));
    const moves = [...targets].map(([from, to]) => ({ from, to }));
    const slabs = new BlockRemap(remap.numBlocks / maxPerSlab, moves);
    this.#slabs.resize(slabs);
    this.#states = remap.column(this.#states);
    this.#stacks = new FreeStacks(slabs.numBlocks, maxPerSlab);
    for (let slab = 0; slab < this.numSlabs; slab++) {
      if (this.#slabs.isFree(slab)) continue;
      for (const id of this.#blocksOf(slab).reverse()) {
        if (this.#states[id] === 0) this.#stacks.push(slab, id);
      }
    }
    function slabOf(id: BlockId): number {
      return Math.floor(id / maxPerSlab);
    }
  }

  checkIntegrity(): void {
    checkSlabs(this.#slabs, this.#perSlab.length, (slab) => this.#countBlocks(slab));
  }

  #countBlocks(slab: number): SlabBlocks {
    const first = slab * this.#maxPerSlab;
    const numBlocks = this.#slabs.numBlocksIn(slab);
    let used = 0;
    let idle = 0;
    for (let id = first; id < first + numBlocks; id++) {
      const state = this.#states[id]!;
      if (state >= REFERENCE) used++;
      else if (state === MARK) idle++;
    }
    const stacked = this.#stacks.idsOf(slab).length;
    return { used, idle, free: numBlocks - used - idle, stacked };
  }

  /**
   * Gives a free slab to `group`, for `sequence`. It is used or free again before anything else.
   */
  #open(group: number, sequence: SequenceId): number {
    const slab = this.#slabs.open(group, sequence);
    this.#stacks.fill(slab, this.#perSlab[group]!);
    return slab;
  }

  #takeFrom(slab: number): BlockId {
    const id = this.#stacks.pop(slab);
    this.#states[id] = REFERENCE;
    this.#slabs.change(slab, 1, 0);
    return id;
  }

  #takeAny(group: number, evict: () => void): BlockId {
    let slab: number | undefined;
    while ((slab = this.#slabs.firstPartial(group)) === undefined) evict();
    return this.#takeFrom(slab);
  }

  #blocksOf(slab: number): BlockId[] {
    const first = slab * this.#maxPerSlab;
    return Array.from({ length: this.#slabs.numBlocksIn(slab) }, (_, i) => first + i);
  }

  #slabOf(id: BlockId): number {
    return Math.floor(id / this.#maxPerSlab);
  }

  #stateOf(id: BlockId): number {
    const state = this.#states[id];
    if (state === undefined) {
      throw new InvariantError(`block ${id} outside the pool of ${this.numBlocks}`);
    }
    return state;
  }
}
