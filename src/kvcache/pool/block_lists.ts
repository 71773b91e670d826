import { InvariantError } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "./block_remap.ts";

/** The list number of a block that is on no list, and that of a block on the only one. */
const NONE = -1;
const ONLY = 0;

/**
 * A few ordered lists of blocks, each block on at most one of them.
 *
 * Every list is a doubly linked ring whose links live in two arrays indexed by block id, closed
 * through a sentinel of its own; list `l` has the sentinel `numBlocks + l`:
 *
 *     next:  S -> 4 -> 0 -> 2 -> S        first: 4, last: 2
 *     prev:  S <- 4 <- 0 <- 2 <- S        1 and 3 are on no list
 *
 * So a block can leave from the middle without a search, which is what a prefix cache needs to take
 * back a block that could be evicted but is wanted again. Every operation is O(1) and allocates
 * nothing; memory is 8 bytes per block for one list, 9 for several.
 */
export class BlockLists {
  readonly #numBlocks: number;
  readonly #next: Int32Array;
  readonly #prev: Int32Array;
  /** Which list each block is on, or NONE; absent for one list. */
  readonly #lists: Int8Array | undefined;
  readonly #lengths: Uint32Array;

  /** `numLists` empty lists (at most 127) for the blocks `[0, numBlocks)`. */
  constructor(numBlocks: number, numLists: number) {
    this.#numBlocks = numBlocks;
    this.#next = new Int32Array(numBlocks + numLists);
    for (let id = 0; id < this.#next.length; id++) this.#next[id] = id;
    this.#prev = this.#next.slice();
    this.#lists = numLists === 1 ? undefined : new Int8Array(numBlocks).fill(NONE);
    this.#lengths = new Uint32Array(numLists);
  }

  /** How many blocks are on `list`. */
  length(list: number): number {
    return this.#lengths[list]!;
  }

  /** Whether block `id` is on any list. */
  has(id: BlockId): boolean {
    return this.#next[id] !== id;
  }

  /** The number of the list that block `id` is on, or -1. */
  listOf(id: BlockId): number {
    if (this.#lists !== undefined) return this.#lists[id]!;
    return this.has(id) ? ONLY : NONE;
  }

  /** The first block of `list`; undefined when it is empty. */
  first(list: number): BlockId | undefined {
    const id = this.#next[this.#numBlocks + list]!;
    return id < this.#numBlocks ? id : undefined;
  }

  /** Puts block `id`, which is on no list, before all others of `list`. */
  putFirst(list: number, id: BlockId): void {
    const sentinel = this.#numBlocks + list;
    this.#insert(list, id, { prev: sentinel, next: this.#next[sentinel]! });
  }

  /** Puts block `id`, which is on no list, after all others of `list`. */
  putLast(list: number, id: BlockId): void {
    const sentinel = this.#numBlocks + list;
    this.#insert(list, id, { prev: this.#prev[sentinel]!, next: sentinel });
  }

  /** Takes block `id` off the list it is on, wherever it stands. */
  remove(id: BlockId): void {
    if (!this.has(id)) throw new InvariantError(`block ${id} is on no list`);
    this.#link(this.#prev[id]!, this.#next[id]!);
    this.#lengths[this.listOf(id)]!--;
    this.#link(id, id);
    if (this.#lists !== undefined) this.#lists[id] = NONE;
  }

  /** The blocks of `list` in order; the list must not change meanwhile. */
  *ids(list: number): Generator<BlockId> {
    const sentinel = this.#numBlocks + list;
    for (let id = this.#next[sentinel]!; id !== sentinel; id = this.#next[id]!) yield id;
  }

  /**
   * The same lists in the same order under the blocks' new ids, without those that are gone.
   * O(pool).
   */
  remapped(remap: BlockRemap): BlockLists {
    const lists = new BlockLists(remap.numBlocks, this.#lengths.length);
    for (const list of this.#lengths.keys()) {
      for (const id of this.ids(list)) {
        if (remap.keeps(id)) lists.putLast(list, remap.idOf(id));
      }
    }
    return lists;
  }

  /** Audit: each list is one ring, the same in both directions, of its own blocks. O(blocks). */
  checkIntegrity(): void {
    let numLinked = 0;
    for (let list = 0; list < this.#lengths.length; list++) {
      this.#checkRing(list);
      numLinked += this.length(list);
    }
    let numListed = 0;
    for (let id = 0; id < this.#numBlocks; id++) {
      const isListed = this.listOf(id) !== NONE;
      if (isListed) numListed++;
      if (isListed !== this.has(id)) {
        throw new InvariantError(`block ${id} is linked and not listed`);
      }
    }
    if (numListed !== numLinked) {
      throw new InvariantError(`${numListed} blocks say they are listed, ${numLinked} are`);
    }
  }

  #checkRing(list: number): void {
    const length = this.length(list);
    const sentinel = this.#numBlocks + list;
    let numSeen = 0;
    let before = sentinel;
    // Links that bypass the sentinel make an endless ring, so the walk ends with the length.
    for (let id = this.#next[sentinel]!; id !== sentinel; id = this.#next[id]!) {
      if (this.#prev[id] !== before || this.listOf(id) !== list || numSeen === length) break;
      numSeen++;
      before = id;
    }
    if (numSeen !== length || this.#prev[sentinel] !== before) {
      throw new InvariantError(
        `list ${list} of ${length} blocks breaks after ${numSeen}, at block ${before}`,
      );
    }
  }

  #insert(list: number, id: BlockId, { prev, next }: { prev: number; next: number }): void {
    if (this.has(id)) throw new InvariantError(`block ${id} is on list ${this.listOf(id)} already`);
    this.#link(prev, id);
    this.#link(id, next);
    if (this.#lists !== undefined) this.#lists[id] = list;
    this.#lengths[list]!++;
  }

  #link(from: number, to: number): void {
    this.#next[from] = to;
    this.#prev[to] = from;
  }
}
