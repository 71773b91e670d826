import { invariant } from "../base/invariant.ts";
import type { BlockId } from "../core/ids.ts";
import type { BlockRenaming } from "./block_renaming.ts";

const ABSENT = -1;

/**
 * A binary heap of blocks that any block can leave.
 *
 *     order:   [ 4, 0, 2, ... ]   order[i] comes before order[2 i + 1] and order[2 i + 2]
 *     places:  4 -> 0, 0 -> 1, 2 -> 2, all others ABSENT
 *
 * What `isBefore` compares must not change while a block is in the heap. `first` is O(1), `push` and
 * `remove` O(log blocks); memory is 8 bytes per block.
 */
export class BlockHeap {
  readonly #isBefore: (a: BlockId, b: BlockId) => boolean;
  #order: Int32Array;
  #places: Int32Array;
  #length = 0;

  /** An empty heap for blocks `[0, numBlocks)`; `isBefore` is a strict total order. */
  constructor(numBlocks: number, isBefore: (a: BlockId, b: BlockId) => boolean) {
    this.#isBefore = isBefore;
    this.#order = new Int32Array(numBlocks);
    this.#places = new Int32Array(numBlocks).fill(ABSENT);
  }

  /** Blocks in the heap. */
  get length(): number {
    return this.#length;
  }

  /** The block that comes before all others; undefined when the heap is empty. */
  get first(): BlockId | undefined {
    return this.#length === 0 ? undefined : this.#order[0];
  }

  /** Whether block `id` is in the heap. */
  has(id: BlockId): boolean {
    return this.#places[id] !== ABSENT;
  }

  /** Puts block `id`, which is not in the heap, where it belongs. */
  push(id: BlockId): void {
    invariant(!this.has(id), `block ${id} is in the heap already`);
    this.#put(this.#length, id);
    this.#rise(this.#length++);
  }

  /** Takes block `id` out. */
  remove(id: BlockId): void {
    invariant(this.has(id), `block ${id} is not in the heap`);
    const place = this.#places[id]!;
    this.#places[id] = ABSENT;
    const last = this.#order[--this.#length]!;
    if (last === id) return;
    this.#put(place, last);
    this.#rise(place);
    this.#sink(this.#places[last]!);
  }

  /** Follows blocks to their new ids, under which `isBefore` has to know them already. O(pool). */
  rename(renaming: BlockRenaming): void {
    const order = this.#order.slice(0, this.#length);
    this.#order = new Int32Array(renaming.numBlocks);
    this.#places = new Int32Array(renaming.numBlocks).fill(ABSENT);
    // Nobody's place among the others has changed.
    order.forEach((id, place) => this.#put(place, renaming.idOf(id)));
  }

  /** Audit: nobody comes before their parent, and everyone is where their place says. */
  checkIntegrity(): void {
    for (let place = 0; place < this.#length; place++) {
      const id = this.#order[place]!;
      const parent = this.#order[(place - 1) >> 1];
      invariant(
        this.#places[id] === place && (parent === undefined || !this.#isBefore(id, parent)),
        `block ${id} is out of order at place ${place} of the heap`,
      );
    }
  }

  #rise(from: number): void {
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!this.#isBefore(this.#order[place]!, this.#order[parent]!)) return;
      this.#swap(place, parent);
      place = parent;
    }
  }

  #sink(from: number): void {
    let place = from;
    while (true) {
      let least = place;
      for (const child of [2 * place + 1, 2 * place + 2]) {
        const isLess = child < this.#length &&
          this.#isBefore(this.#order[child]!, this.#order[least]!);
        if (isLess) least = child;
      }
      if (least === place) return;
      this.#swap(place, least);
      place = least;
    }
  }

  #swap(a: number, b: number): void {
    const id = this.#order[a]!;
    this.#put(a, this.#order[b]!);
    this.#put(b, id);
  }

  #put(place: number, id: BlockId): void {
    this.#order[place] = id;
    this.#places[id] = place;
  }
}
