import { invariant, InvariantError } from "../../base/invariant.ts";
import { OutOfBlocksError } from "../../core/errors.ts";
import type { BlockId, SequenceId } from "../../core/ids.ts";
import { BlockLists } from "./block_lists.ts";
import { BlockRemap, type IdChange } from "./block_remap.ts";
import { addMark, dropMark, dropReference, MARK, REFERENCE } from "./block_state.ts";
import { type BlockNeed, type Demand, outOfBlocks, type Pool } from "./pool.ts";

/** The only list of the pool. */
const FREE = 0;

/**
 * The set of physical KV blocks where slabs are not cut: a slab is a block, whichever group has it.
 *
 * A block is on the free list exactly when it has no reference and no mark. Every holder owns one
 * reference to each block it holds. The pool moves no bytes: what a block id addresses in each
 * layer's buffer belongs to the device.
 *
 * Every operation but a resize costs O(blocks passed), never O(pool); no object exists per block. A
 * call that throws has changed nothing. Paging after Kwon et al. 2023, "PagedAttention"
 * (arXiv:2309.06180), section 4.2.
 */
export class BlockPool implements Pool {
  /** Twice the references of each block, and one more where it is marked; 0 means free. */
  #states: Uint32Array;
  #free: BlockLists;
  #numIdle = 0;

  /** All of `[0, numBlocks)` free, lowest id first; at least one. */
  constructor(numBlocks: number) {
    invariant(Number.isInteger(numBlocks) && numBlocks > 0, `a pool of ${numBlocks} blocks`);
    this.#states = new Uint32Array(numBlocks);
    this.#free = new BlockLists(numBlocks, 1);
    for (let id = 0; id < numBlocks; id++) this.#free.putLast(FREE, id);
  }

  get numBlocks(): number {
    return this.#states.length;
  }

  get numSlabs(): number {
    return this.#states.length;
  }

  get numFree(): number {
    return this.#free.length(FREE);
  }

  get numIdle(): number {
    return this.#numIdle;
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

  /**
   * Takes `count` free blocks, all or none, each with one reference.
   *
   * @throws {OutOfBlocksError} when fewer than `count` are free. Nothing has changed.
   */
  allocate(count: number): BlockId[] {
    if (count > this.numFree) throw new OutOfBlocksError(count, this.numFree);
    const ids: BlockId[] = [];
    while (ids.length < count) {
      const id = this.#free.first(FREE)!;
      this.#free.remove(id);
      this.#states[id] = REFERENCE;
      ids.push(id);
    }
    return ids;
  }

  take(demand: Demand, _sequence: SequenceId, evict: () => void = outOfBlocks): BlockId[][] {
    return demand.map((count) => {
      while (this.numFree < count) evict();
      return this.allocate(count);
    });
  }

  /** Turns the mark of an idle block into a reference: it is taken without having been free. */
  claim(id: BlockId): void {
    if (!this.isIdle(id)) throw new InvariantError(`block ${id} is claimed and not idle`);
    this.#states[id] = REFERENCE;
    this.#numIdle--;
  }

  forgetSequence(): void {}

  groupOf(): undefined {
    return undefined;
  }

  idInGroup(id: BlockId): BlockId {
    return id;
  }

  countMissing({ demand, hits = [], numHeadroomSlabs = 0 }: BlockNeed): number {
    let numNeeded = numHeadroomSlabs;
    for (const count of demand) numNeeded += count;
    // An idle hit is no room any more once it is held.
    for (const id of hits) if (this.isIdle(id)) numNeeded++;
    return numNeeded - this.numFree - this.#numIdle;
  }

  numSlabsFor(demand: Demand): number {
    return demand.reduce((sum, count) => sum + count, 0);
  }

  /** Adds one reference to each block, which may be free here: a slab gets its first one so. */
  retain(ids: readonly BlockId[]): void {
    for (const id of ids) {
      const state = this.#stateOf(id);
      if (state === 0) this.#free.remove(id);
      else if (state === MARK) this.#numIdle--;
      this.#states[id] = state + REFERENCE;
    }
  }

  /**
   * Drops one reference from each block; those that become free are handed out next, the last of
   * `ids` first.
   *
   * Reusing what was freed last keeps the touched part of the pool small: an adapter that commits
   * memory lazily never commits the rest.
   */
  release(ids: readonly BlockId[]): void {
    for (const id of ids) {
      const state = this.#stateOf(id);
      this.#states[id] = dropReference(state, id);
      if (state === REFERENCE) this.#free.putFirst(FREE, id);
      else if (state === REFERENCE + MARK) this.#numIdle++;
    }
  }

  mark(id: BlockId): void {
    this.#states[id] = addMark(this.#stateOf(id), id);
  }

  unmark(id: BlockId): void {
    const state = this.#stateOf(id);
    this.#states[id] = dropMark(state, id);
    if (state !== MARK) return;
    this.#numIdle--;
    this.#free.putFirst(FREE, id);
  }

  /** Those at or above the new end go to the lowest free ids. O(pool). */
  planResize(numBlocks: number): BlockRemap {
    const moves: IdChange[] = [];
    let to = 0;
    for (let from = numBlocks; from < this.numBlocks; from++) {
      if (this.#states[from] === 0) continue;
      while (this.#states[to] !== 0) to++;
      invariant(to < numBlocks, `no room for block ${from} among ${numBlocks}`);
      moves.push({ from, to: to++ });
    }
    return new BlockRemap(numBlocks, moves);
  }

  /** Blocks that are new are handed out after all others. */
  resize(remap: BlockRemap): void {
    const numBefore = this.numBlocks;
    for (const { to } of remap.moves) this.#free.remove(to);
    this.#states = remap.column(this.#states);
    this.#free = this.#free.remapped(remap);
    for (let id = numBefore; id < remap.numBlocks; id++) this.#free.putLast(FREE, id);
  }

  /** Audit: the free list is whole, free means without reference and mark. O(pool). */
  checkIntegrity(): void {
    this.#free.checkIntegrity();
    let numIdle = 0;
    for (let id = 0; id < this.numBlocks; id++) {
      const state = this.#states[id];
      if (state === MARK) numIdle++;
      if ((state === 0) !== this.#free.has(id)) {
        const what = state === 0 ? "is not on the free list" : "is on the free list";
        throw new InvariantError(`block ${id} has state ${state} and ${what}`);
      }
    }
    invariant(numIdle === this.#numIdle, `${numIdle} blocks are idle, counted ${this.#numIdle}`);
  }

  #stateOf(id: BlockId): number {
    const state = this.#states[id];
    if (state === undefined) {
      throw new InvariantError(`block ${id} outside the pool of ${this.numBlocks}`);
    }
    return state;
  }
}
