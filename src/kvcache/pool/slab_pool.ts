import { invariant, InvariantError } from "../../base/invariant.ts";
import { ceilDiv } from "../../base/math.ts";
import { OutOfBlocksError } from "../../core/errors.ts";
import type { BlockId, SequenceId } from "../../core/ids.ts";
import { BlockLists } from "./block_lists.ts";
import { BlockPool } from "./block_pool.ts";
import { BlockRemap, type IdChange } from "./block_remap.ts";
import { FreeStacks } from "./free_stacks.ts";
import { type Demand, type Need, outOfBlocks, type Pool } from "./pool.ts";

const MARK = 1;
const REFERENCE = 2;

/** What stands for a slab that is on no list of partly free ones. */
const NO_LIST = -1;

/**
 * A pool whose slabs are cut into several blocks (Jenga, arXiv:2503.18292).
 *
 *     slabs    | 0: full         | 1: window       | 2: free         |
 *     blocks   | f . f f . . f f | w     | w       |                 |
 *
 * The slabs are a {@link BlockPool} themselves: one reference to a slab for each of its blocks in
 * use, and a mark while it has idle ones. For each block the first of these that there is:
 *
 *     1. a free block in a slab that was opened for the same owner and group
 *     2. a free slab
 *     3. what becomes a free slab as idle blocks are evicted
 *     4. a free block in any slab of the group, be it after evictions
 *
 * So a slab is mostly one sequence's, and empties when that ends. Every operation costs O(blocks
 * passed). About 10 bytes per block and 40 per slab.
 */
export class SlabPool implements Pool {
  readonly #perSlab: Demand;
  readonly #room: number;
  readonly #slabs: BlockPool;
  #states: Uint32Array;
  /** The group that has each slab; valid while the slab is not free. */
  #groups: Int8Array;
  /** For whom each slab was opened. */
  #owners: Float64Array;
  #numIdleIn: Uint32Array;
  #stacks: FreeStacks;
  /** Slabs in use that have free blocks, by group. */
  #partial: BlockLists;
  /** Those of them that were opened for an owner who may take more, per group. */
  readonly #owned = new Map<SequenceId, Set<number>[]>();
  /** Per group, blocks in slabs in use that are free, and that are idle. */
  readonly #numFreeInUsed: number[];
  readonly #numIdleInUsed: number[];

  /** `numSlabs` free slabs, each of which can become `perSlab[g]` blocks of group `g`. */
  constructor(numSlabs: number, perSlab: Demand) {
    this.#perSlab = perSlab;
    this.#room = Math.max(...perSlab);
    this.#slabs = new BlockPool(numSlabs);
    this.#states = new Uint32Array(numSlabs * this.#room);
    this.#groups = new Int8Array(numSlabs);
    this.#owners = new Float64Array(numSlabs);
    this.#numIdleIn = new Uint32Array(numSlabs);
    this.#stacks = new FreeStacks(numSlabs, this.#room);
    this.#partial = new BlockLists(numSlabs, perSlab.length);
    this.#numFreeInUsed = perSlab.map(() => 0);
    this.#numIdleInUsed = perSlab.map(() => 0);
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
    return this.#groups[this.#slabOf(id)]!;
  }

  idInGroup(id: BlockId, group: number): BlockId {
    return Math.floor(id / this.#room) * this.#perSlab[group]! + id % this.#room;
  }

  numSlabsFor(counts: Demand): number {
    return counts.reduce((sum, count, group) => sum + ceilDiv(count, this.#perSlab[group]!), 0);
  }

  countMissing({ counts, hits = [], numKept = 0 }: Need): number {
    const numInUsed = counts.map((_, group) => this.#numInUsed(group));
    const held = new Set<number>();
    for (const id of hits) {
      if (!this.isIdle(id)) continue;
      const slab = this.#slabOf(id);
      const group = this.#groups[slab]!;
      // The hits keep their slab, and leave the rest of it to their group alone.
      if (this.#slabs.isIdle(slab) && !held.has(slab)) {
        held.add(slab);
        numInUsed[group]! += this.#perSlab[group]!;
      }
      numInUsed[group]!--;
    }
    const numNeeded = this.#numSlabsNeeded(counts, numInUsed).reduce((a, b) => a + b, 0);
    return numNeeded + numKept + held.size - this.numFree - this.numIdle;
  }

  retain(ids: readonly BlockId[]): void {
    for (const id of ids) {
      const state = this.#stateOf(id);
      if (state === 0) throw new InvariantError(`free block ${id} is retained`);
      this.#states[id] = state + REFERENCE;
      if (state === MARK) this.#changeSlab(this.#slabOf(id), 1, -1);
    }
  }

  release(ids: readonly BlockId[]): void {
    for (const id of ids) {
      const state = this.#stateOf(id);
      if (state < REFERENCE) throw new InvariantError(`double release of block ${id}`);
      this.#states[id] = state - REFERENCE;
      if (state >= 2 * REFERENCE) continue;
      if (state === REFERENCE) this.#stacks.push(this.#slabOf(id), id);
      this.#changeSlab(this.#slabOf(id), -1, state === REFERENCE ? 0 : 1);
    }
  }

  mark(id: BlockId): void {
    const state = this.#stateOf(id);
    if (state < REFERENCE || state % 2 === MARK) {
      throw new InvariantError(`block ${id} with state ${state} is to be marked`);
    }
    this.#states[id] = state + MARK;
  }

  unmark(id: BlockId): void {
    const state = this.#stateOf(id);
    if (state % 2 !== MARK) throw new InvariantError(`block ${id} is unmarked twice`);
    this.#states[id] = state - MARK;
    if (state !== MARK) return;
    this.#stacks.push(this.#slabOf(id), id);
    this.#changeSlab(this.#slabOf(id), 0, -1);
  }

  /** A group that could do with fewer slabs leaves those that another cannot do without. */
  take(counts: Demand, owner: SequenceId, evict: () => void = outOfBlocks): BlockId[][] {
    const numMissing = this.countMissing({ counts });
    if (numMissing > 0) throw new OutOfBlocksError(this.numSlabsFor(counts), this.numFree);
    const numInUsed = counts.map((_, group) => this.#numInUsed(group));
    const numNeeded = this.#numSlabsNeeded(counts, numInUsed);
    // Who is alone fills slabs in use first, so that it can have all that there is.
    const isAlone = this.#owned.size === 0 || (this.#owned.size === 1 && this.#owned.has(owner));
    let numSpare = isAlone ? 0 : -numMissing;
    const taken = counts.map((count, group) => {
      const ids: BlockId[] = [];
      let numSlabs = numNeeded[group]! + numSpare;
      while (ids.length < count) {
        let slab = this.#ownPartial(owner, group);
        if (slab === undefined && numSlabs > 0) {
          while (this.numFree === 0) evict();
          slab = this.#open(group, owner);
          numSlabs--;
        }
        if (slab === undefined) break;
        ids.push(this.#takeFrom(slab));
      }
      numSpare = Math.min(numSpare, numSlabs);
      return ids;
    });
    taken.forEach((ids, group) => {
      while (ids.length < counts[group]!) ids.push(this.#takeAny(group, evict));
    });
    return taken;
  }

  forgetOwner(owner: SequenceId): void {
    this.#owned.delete(owner);
  }

  /** Slabs move whole. */
  planResize(numSlabs: number): BlockRemap {
    const moves: IdChange[] = [];
    for (const { from, to } of this.#slabs.planResize(numSlabs).moves) {
      for (let i = 0; i < this.#room; i++) {
        if (this.#states[from * this.#room + i] === 0) continue;
        moves.push({ from: from * this.#room + i, to: to * this.#room + i });
      }
    }
    return new BlockRemap(numSlabs * this.#room, moves);
  }

  resize(remap: BlockRemap): void {
    const room = this.#room;
    const targets = new Map(remap.moves.map((move) => [slabOf(move.from), slabOf(move.to)]));
    const moves = [...targets].map(([from, to]) => ({ from, to }));
    const slabs = new BlockRemap(remap.numBlocks / room, moves);
    const owners = [...this.#owned.keys()];
    this.#slabs.resize(slabs);
    this.#states = remap.column(this.#states);
    this.#groups = slabs.column(this.#groups);
    this.#owners = slabs.column(this.#owners);
    this.#numIdleIn = slabs.column(this.#numIdleIn);
    this.#partial = this.#partial.remapped(slabs);
    this.#stacks = new FreeStacks(slabs.numBlocks, room);
    this.#owned.clear();
    for (const owner of owners) this.#owned.set(owner, this.#perSlab.map(() => new Set<number>()));
    for (let slab = 0; slab < this.numSlabs; slab++) {
      if (this.#isFree(slab)) continue;
      for (const id of this.#blocksOf(slab).reverse()) {
        if (this.#states[id] === 0) this.#stacks.push(slab, id);
      }
      this.#list(slab);
    }
    function slabOf(id: BlockId): number {
      return Math.floor(id / room);
    }
  }

  checkIntegrity(): void {
    this.#slabs.checkIntegrity();
    this.#partial.checkIntegrity();
    const numFree = this.#perSlab.map(() => 0);
    const numIdle = this.#perSlab.map(() => 0);
    for (let slab = 0; slab < this.numSlabs; slab++) {
      if (this.#isFree(slab)) continue;
      const { used, idle, free } = this.#checkSlab(slab);
      if (used === 0) continue;
      numFree[this.#groups[slab]!]! += free;
      numIdle[this.#groups[slab]!]! += idle;
    }
    this.#perSlab.forEach((_, group) =>
      invariant(
        numFree[group] === this.#numFreeInUsed[group] &&
          numIdle[group] === this.#numIdleInUsed[group],
        `group ${group} has ${numFree[group]} free and ${numIdle[group]} idle blocks in use slabs`,
      )
    );
  }

  #checkSlab(slab: number): { used: number; idle: number; free: number } {
    const states = this.#blocksOf(slab).map((id) => this.#states[id]!);
    const used = states.filter((state) => state >= REFERENCE).length;
    const idle = states.filter((state) => state === MARK).length;
    const free = states.length - used - idle;
    invariant(
      used === this.#slabs.refCount(slab) && idle === this.#numIdleIn[slab] &&
        (idle > 0) === this.#slabs.isMarked(slab) && free === this.#stacks.slots(slab).length,
      `slab ${slab} has ${used} used, ${idle} idle and ${free} free blocks, counted otherwise`,
    );
    const list = used > 0 && free > 0 ? this.#groups[slab]! : NO_LIST;
    invariant(this.#partial.listOf(slab) === list, `slab ${slab} is not on list ${list}`);
    const own = this.#owned.get(this.#owners[slab]!)?.[this.#groups[slab]!];
    invariant(!own?.has(slab) || list !== NO_LIST, `slab ${slab} has nothing for its owner`);
    return { used, idle, free };
  }

  /** Blocks of `group` to be had without a slab of its own. */
  #numInUsed(group: number): number {
    return this.#numFreeInUsed[group]! + this.#numIdleInUsed[group]!;
  }

  /** Fewest slabs each group can do with, given what it gets without one. */
  #numSlabsNeeded(counts: Demand, numInUsed: readonly number[]): number[] {
    return counts.map((count, group) =>
      ceilDiv(Math.max(0, count - numInUsed[group]!), this.#perSlab[group]!)
    );
  }

  #ownPartial(owner: SequenceId, group: number): number | undefined {
    return this.#owned.get(owner)?.[group]?.values().next().value;
  }

  /** Gives a free slab to `group`, for `owner`. It is used or free again before anything else. */
  #open(group: number, owner: SequenceId): number {
    const [slab] = this.#slabs.allocate(1);
    this.#slabs.release([slab!]);
    this.#groups[slab!] = group;
    this.#owners[slab!] = owner;
    this.#stacks.fill(slab!, this.#perSlab[group]!);
    if (!this.#owned.has(owner)) this.#owned.set(owner, this.#perSlab.map(() => new Set()));
    return slab!;
  }

  #takeFrom(slab: number): BlockId {
    const id = this.#stacks.pop(slab);
    this.#states[id] = REFERENCE;
    this.#changeSlab(slab, 1, 0);
    return id;
  }

  #takeAny(group: number, evict: () => void): BlockId {
    let slab: number | undefined;
    while ((slab = this.#partial.first(group)) === undefined) evict();
    return this.#takeFrom(slab);
  }

  /** Changes how many blocks of `slab` are in use and idle, and puts it where it belongs. */
  #changeSlab(slab: number, numUsed: 1 | 0 | -1, numIdle: 1 | 0 | -1): void {
    this.#count(slab, -1);
    const numIdleBefore = this.#numIdleIn[slab]!;
    // A reference is added first and dropped last, so that a slab is never free in between.
    if (numUsed === 1) this.#slabs.retain([slab]);
    this.#numIdleIn[slab] = numIdleBefore + numIdle;
    if (numIdle === 1 && numIdleBefore === 0) this.#slabs.mark(slab);
    if (numIdle === -1 && numIdleBefore === 1) this.#slabs.unmark(slab);
    if (numUsed === -1) this.#slabs.release([slab]);
    this.#count(slab, 1);
    this.#list(slab);
  }

  #list(slab: number): void {
    const group = this.#groups[slab]!;
    const isPartial = this.#slabs.refCount(slab) > 0 && this.#numFreeBlocks(slab) > 0;
    const own = this.#owned.get(this.#owners[slab]!)?.[group];
    if (isPartial) own?.add(slab);
    else own?.delete(slab);
    if (this.#partial.has(slab) === isPartial) return;
    if (isPartial) this.#partial.putLast(group, slab);
    else this.#partial.remove(slab);
  }

  /** Adds the free and idle blocks of a slab in use to its group's, or takes them off. */
  #count(slab: number, sign: 1 | -1): void {
    if (this.#slabs.refCount(slab) === 0) return;
    const group = this.#groups[slab]!;
    this.#numFreeInUsed[group]! += sign * this.#numFreeBlocks(slab);
    this.#numIdleInUsed[group]! += sign * this.#numIdleIn[slab]!;
  }

  #numFreeBlocks(slab: number): number {
    return this.#perSlab[this.#groups[slab]!]! - this.#slabs.refCount(slab) -
      this.#numIdleIn[slab]!;
  }

  #isFree(slab: number): boolean {
    return this.#slabs.refCount(slab) === 0 && !this.#slabs.isMarked(slab);
  }

  #blocksOf(slab: number): BlockId[] {
    const first = slab * this.#room;
    return Array.from({ length: this.#perSlab[this.#groups[slab]!]! }, (_, i) => first + i);
  }

  #slabOf(id: BlockId): number {
    return Math.floor(id / this.#room);
  }

  #stateOf(id: BlockId): number {
    const state = this.#states[id];
    if (state === undefined) {
      throw new InvariantError(`block ${id} outside the pool of ${this.numBlocks}`);
    }
    return state;
  }
}
