import { invariant } from "../../base/invariant.ts";
import type { BlockMove } from "../../core/batch.ts";
import { OutOfBlocksError } from "../../core/errors.ts";
import type { BlockId } from "../../core/ids.ts";
import { BlockLists } from "./block_lists.ts";
import { BlockRemap } from "./block_remap.ts";

/** The only list of the pool. */
const FREE = 0;

/**
 * Where block tables get their blocks: the pool itself, or a prefix cache that makes room in it.
 */
export interface BlockSource {
  /** Blocks that `allocate` can hand out. */
  readonly numAvailable: number;
  /**
   * Takes `count` blocks, all or none, each with one reference.
   *
   * @throws {OutOfBlocksError} when fewer than `count` are available. Nothing has changed.
   */
  allocate(count: number): BlockId[];
  /** Adds one reference to each block; `ids` begin with those that hold earlier positions. */
  retain(ids: readonly BlockId[]): void;
  /** Drops one reference from each block; `ids` begin with those that hold earlier positions. */
  release(ids: readonly BlockId[]): void;
}

/**
 * The set of physical KV blocks, each with a reference count.
 *
 * A block is on the free list exactly when its count is 0. Every holder owns one reference to each
 * block it holds. The pool moves no bytes: a block id addresses the same place in each layer's
 * buffer, and those belong to the device.
 *
 * Every operation but a resize costs O(blocks passed), never O(pool); no object exists per block. A
 * call that throws has changed nothing. Paging after Kwon et al. 2023, "PagedAttention"
 * (arXiv:2309.06180), section 4.2.
 */
export class BlockPool implements BlockSource {
  #refCounts: Uint32Array;
  #free: BlockLists;

  /** All of `[0, numBlocks)` free, lowest id first; at least one. */
  constructor(numBlocks: number) {
    invariant(Number.isInteger(numBlocks) && numBlocks > 0, `a pool of ${numBlocks} blocks`);
    this.#refCounts = new Uint32Array(numBlocks);
    this.#free = new BlockLists(numBlocks, 1);
    for (let id = 0; id < numBlocks; id++) this.#free.putLast(FREE, id);
  }

  /** Blocks, free or not. */
  get numBlocks(): number {
    return this.#refCounts.length;
  }

  /** Blocks without a reference. */
  get numFree(): number {
    return this.#free.length(FREE);
  }

  get numAvailable(): number {
    return this.numFree;
  }

  /** References held on block `id`; 0 means free. */
  refCount(id: BlockId): number {
    invariant(
      Number.isInteger(id) && id >= 0 && id < this.numBlocks,
      `block ${id} outside the pool of ${this.numBlocks}`,
    );
    return this.#refCounts[id]!;
  }

  allocate(count: number): BlockId[] {
    if (count > this.numFree) throw new OutOfBlocksError(count, this.numFree);
    const ids: BlockId[] = [];
    while (ids.length < count) {
      const id = this.#free.first(FREE)!;
      this.#free.remove(id);
      this.#refCounts[id] = 1;
      ids.push(id);
    }
    return ids;
  }

  /** Adds one reference to each block; one that was free leaves the free list as it is. */
  retain(ids: readonly BlockId[]): void {
    for (const id of ids) {
      if (this.refCount(id) === 0) this.#free.remove(id);
      this.#refCounts[id]!++;
    }
  }

  /**
   * Drops one reference from each block; those that reach 0 become free and are handed out next,
   * the last of `ids` first.
   *
   * Reusing what was freed last keeps the touched part of the pool small: an adapter that commits
   * memory lazily never commits the rest.
   */
  release(ids: readonly BlockId[]): void {
    for (const id of ids) {
      invariant(this.refCount(id) > 0, `double release of block ${id}`);
      if (--this.#refCounts[id]! === 0) this.#free.putFirst(FREE, id);
    }
  }

  /**
   * How the blocks that are not free fit into a pool of `numBlocks`, which are enough for them:
   * those at or above that go to the lowest free ids. Changes nothing. O(pool).
   */
  planResize(numBlocks: number): BlockRemap {
    const moves: BlockMove[] = [];
    let to = 0;
    for (let from = numBlocks; from < this.numBlocks; from++) {
      if (this.#refCounts[from] === 0) continue;
      while (this.#refCounts[to] !== 0) to++;
      invariant(to < numBlocks, `no room for block ${from} among ${numBlocks}`);
      moves.push({ group: 0, from, to: to++ });
    }
    return new BlockRemap(numBlocks, moves);
  }

  /** Takes the new size and ids. Blocks that are new are handed out after all others. O(pool). */
  resize(remap: BlockRemap): void {
    const numBefore = this.numBlocks;
    for (const { to } of remap.moves) this.#free.remove(to);
    this.#refCounts = remap.column(this.#refCounts);
    this.#free = this.#free.remapped(remap);
    for (let id = numBefore; id < remap.numBlocks; id++) this.#free.putLast(FREE, id);
  }

  /** The free blocks in the order in which they would be handed out; for audits. */
  freeIds(): BlockId[] {
    return [...this.#free.ids(FREE)];
  }

  /** Audit: the free list is whole, and free means unreferenced. O(pool). */
  checkIntegrity(): void {
    this.#free.checkIntegrity();
    const wrong = this.#refCounts.findIndex((count, id) => (count === 0) !== this.#free.has(id));
    invariant(
      wrong < 0,
      `block ${wrong} has ${this.#refCounts[wrong]} references and a wrong place`,
    );
  }
}
