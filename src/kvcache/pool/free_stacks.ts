import { InvariantError } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";

const NONE = -1;

/**
 * The free blocks of every slab, one stack each, by their ids in the pool (`pool.ts`).
 *
 * Links live in one array indexed by block id, the tops in one indexed by slab. O(1), filling a
 * stack O(blocks).
 */
export class FreeStacks {
  readonly #maxPerSlab: number;
  readonly #tops: Int32Array;
  readonly #below: Int32Array;

  /** Empty stacks of `numSlabs` slabs with up to `maxPerSlab` blocks. */
  constructor(numSlabs: number, maxPerSlab: number) {
    this.#maxPerSlab = maxPerSlab;
    this.#tops = new Int32Array(numSlabs).fill(NONE);
    this.#below = new Int32Array(numSlabs * maxPerSlab).fill(NONE);
  }

  /** Makes the first `count` blocks of `slab` its free ones, the first on top. */
  fill(slab: number, count: number): void {
    this.#tops[slab] = NONE;
    for (let i = count - 1; i >= 0; i--) this.push(slab, slab * this.#maxPerSlab + i);
  }

  /** Puts block `id` of `slab` on top. */
  push(slab: number, id: BlockId): void {
    this.#below[id] = this.#tops[slab]!;
    this.#tops[slab] = id;
  }

  /** Takes the top of `slab`; there must be one. */
  pop(slab: number): BlockId {
    const id = this.#tops[slab]!;
    if (id === NONE) throw new InvariantError(`slab ${slab} has no free block`);
    this.#tops[slab] = this.#below[id]!;
    return id;
  }

  /** The free blocks of `slab`, top first; at most `maxPerSlab`, even of a stack that is a ring. */
  idsOf(slab: number): BlockId[] {
    const ids: BlockId[] = [];
    let id = this.#tops[slab]!;
    for (; id !== NONE && ids.length <= this.#maxPerSlab; id = this.#below[id]!) ids.push(id);
    return ids;
  }
}
