import { InvariantError } from "../../base/invariant.ts";

const NONE = -1;

/**
 * The free blocks of every slab, one stack each: block `i` of slab `s` is slot `s * room + i`.
 *
 * Links live in one array indexed by slot, the tops in one indexed by slab. Where a slab is one
 * block there is nothing to choose from, and nothing is stored. O(1), filling a stack O(blocks).
 */
export class FreeStacks {
  readonly #room: number;
  readonly #tops: Int32Array;
  readonly #below: Int32Array;

  /** Empty stacks of `numSlabs` slabs with up to `room` blocks. */
  constructor(numSlabs: number, room: number) {
    this.#room = room;
    this.#tops = new Int32Array(room > 1 ? numSlabs : 0).fill(NONE);
    this.#below = new Int32Array(room > 1 ? numSlabs * room : 0).fill(NONE);
  }

  /** Makes the first `count` blocks of `slab` its free ones, the first on top. */
  fill(slab: number, count: number): void {
    if (this.#room === 1) return;
    this.#tops[slab] = NONE;
    for (let i = count - 1; i >= 0; i--) this.push(slab, slab * this.#room + i);
  }

  /** Puts a slot of `slab` on top. */
  push(slab: number, slot: number): void {
    if (this.#room === 1) return;
    this.#below[slot] = this.#tops[slab]!;
    this.#tops[slab] = slot;
  }

  /** Takes the top of `slab`; there must be one. */
  pop(slab: number): number {
    if (this.#room === 1) return slab;
    const slot = this.#tops[slab]!;
    if (slot === NONE) throw new InvariantError(`slab ${slab} has no free block`);
    this.#tops[slab] = this.#below[slot]!;
    return slot;
  }

  /** The free slots of `slab`, top first; at most `room`, even of a stack that is a ring. */
  slots(slab: number): number[] {
    const slots: number[] = [];
    let slot = this.#room === 1 ? NONE : this.#tops[slab]!;
    for (; slot !== NONE && slots.length <= this.#room; slot = this.#below[slot]!) slots.push(slot);
    return slots;
  }
}
