import { invariant } from "../base/invariant.ts";
import type { BlockId } from "../core/ids.ts";

/** The `next` of a block that is not on the list; a link is otherwise an id or the sentinel. */
const UNLINKED = -1;

/**
 * The free blocks in the order in which they are handed out.
 *
 * A doubly linked list whose links live in two arrays indexed by block id, closed to a ring through
 * a sentinel with id `numBlocks`:
 *
 *     next:  S -> 4 -> 0 -> 2 -> S        first to be handed out: 4
 *     prev:  S <- 4 <- 0 <- 2 <- S        1 and 3 are in use: next is UNLINKED
 *
 * So a block can leave from the middle without a search, which is what a prefix cache needs to take
 * back a block that is free but still holds a wanted prefix. Every operation is O(1) and allocates
 * nothing; memory is 8 bytes per block.
 */
export class FreeBlockList {
  readonly #sentinel: number;
  readonly #next: Int32Array;
  readonly #prev: Int32Array;
  #numBlocks: number;

  /** All of `[0, numBlocks)`, lowest id first; at least one. */
  constructor(numBlocks: number) {
    this.#sentinel = numBlocks;
    this.#next = Int32Array.from({ length: numBlocks + 1 }, (_, id) => id + 1);
    this.#prev = Int32Array.from({ length: numBlocks + 1 }, (_, id) => id - 1);
    this.#next[numBlocks] = 0;
    this.#prev[0] = numBlocks;
    this.#numBlocks = numBlocks;
  }

  /** How many blocks are on the list. */
  get numBlocks(): number {
    return this.#numBlocks;
  }

  /** Whether block `id` is on the list. */
  has(id: BlockId): boolean {
    return this.#next[id] !== UNLINKED;
  }

  /** Removes and returns the first block; the list must not be empty. */
  takeFirst(): BlockId {
    invariant(this.#numBlocks > 0, "take from an empty free list");
    const id = this.#next[this.#sentinel]!;
    this.remove(id);
    return id;
  }

  /** Puts block `id` before all others. */
  putFirst(id: BlockId): void {
    invariant(!this.has(id), `block ${id} is on the free list already`);
    const second = this.#next[this.#sentinel]!;
    this.#link(this.#sentinel, id);
    this.#link(id, second);
    this.#numBlocks++;
  }

  /** Takes block `id` out, wherever it stands. */
  remove(id: BlockId): void {
    invariant(this.has(id), `block ${id} is not on the free list`);
    this.#link(this.#prev[id]!, this.#next[id]!);
    this.#next[id] = UNLINKED;
    this.#numBlocks--;
  }

  /** The ids in the order in which they would be handed out. */
  *ids(): Generator<BlockId> {
    for (let id = this.#next[this.#sentinel]!; id !== this.#sentinel; id = this.#next[id]!) {
      yield id;
    }
  }

  /** Audit: one ring through the sentinel, the same in both directions. O(blocks on the list). */
  checkIntegrity(): void {
    let numSeen = 0;
    let before = this.#sentinel;
    // Links that bypass the sentinel make an endless ring, so the walk ends with the count.
    for (const id of this.ids()) {
      if (this.#prev[id] !== before || numSeen === this.#numBlocks) break;
      numSeen++;
      before = id;
    }
    invariant(
      numSeen === this.#numBlocks && this.#prev[this.#sentinel] === before,
      `free list of ${this.#numBlocks} blocks breaks after ${numSeen}, at block ${before}`,
    );
  }

  #link(from: number, to: number): void {
    this.#next[from] = to;
    this.#prev[to] = from;
  }
}
