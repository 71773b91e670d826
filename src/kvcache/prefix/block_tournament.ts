import { InvariantError } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "../pool/block_remap.ts";

const NONE = -1;

/**
 * Finds the first of some blocks in an order, when any of them can come and go: a tournament tree
 * (Knuth, The Art of Computer Programming 3, section 5.4.1).
 *
 *     node 1            2            node k holds the first of its children, nodes 2 k and 2 k + 1;
 *     nodes 2, 3     0     2         nodes from numBlocks on are the blocks themselves
 *     blocks        0 1   2 .        block 3 has not entered
 *
 * What `isBefore` compares must not change while a block is in. `first` is O(1), `push` and
 * `remove` O(log blocks); memory is 4 bytes and one bit per block.
 */
export class BlockTournament {
  readonly #isBefore: (a: BlockId, b: BlockId) => boolean;
  #numBlocks: number;
  /** The first of the blocks below each node, or NONE; node 0 is not used. */
  #firsts: Int32Array;
  /** One bit per block: whether it is in. */
  #members: Uint8Array;
  #length = 0;

  /** Empty, for blocks `[0, numBlocks)`; `isBefore` is a strict total order. */
  constructor(numBlocks: number, isBefore: (a: BlockId, b: BlockId) => boolean) {
    this.#isBefore = isBefore;
    this.#numBlocks = numBlocks;
    this.#firsts = new Int32Array(numBlocks).fill(NONE);
    this.#members = new Uint8Array(Math.ceil(numBlocks / 8));
  }

  /** Blocks that are in. */
  get length(): number {
    return this.#length;
  }

  /** The block that comes before all others; undefined when none is in. */
  get first(): BlockId | undefined {
    return this.#length === 0 ? undefined : this.#firstBelow(1);
  }

  /** Whether block `id` is in. */
  has(id: BlockId): boolean {
    return (this.#members[id >> 3]! & (1 << (id & 7))) !== 0;
  }

  /** Enters block `id`, which is not in. */
  push(id: BlockId): void {
    if (this.has(id)) throw new InvariantError(`block ${id} is in the tournament already`);
    this.#enter(id);
    for (let node = (this.#numBlocks + id) >> 1; node >= 1; node >>= 1) {
      const first = this.#firsts[node]!;
      if (first !== NONE && this.#isBefore(first, id)) return;
      this.#firsts[node] = id;
    }
  }

  /** Takes block `id` out. */
  remove(id: BlockId): void {
    if (!this.has(id)) throw new InvariantError(`block ${id} is not in the tournament`);
    this.#members[id >> 3]! &= ~(1 << (id & 7));
    this.#length--;
    for (let node = (this.#numBlocks + id) >> 1; node >= 1; node >>= 1) {
      if (this.#firsts[node] !== id) return;
      this.#firsts[node] = this.#playAt(node);
    }
  }

  /** Follows blocks to their new ids, under which `isBefore` has to know them already. O(pool). */
  remap(remap: BlockRemap): void {
    const before = Array.from({ length: this.#numBlocks }, (_, id) => id);
    const ids = remap.idsOf(before.filter((id) => this.has(id)));
    this.#numBlocks = remap.numBlocks;
    this.#firsts = new Int32Array(this.#numBlocks);
    this.#members = new Uint8Array(Math.ceil(this.#numBlocks / 8));
    this.#length = 0;
    for (const id of ids) this.#enter(id);
    this.replay();
  }

  /** Plays all over again, after what `isBefore` compares has changed. O(pool). */
  replay(): void {
    for (let node = this.#numBlocks - 1; node >= 1; node--) this.#firsts[node] = this.#playAt(node);
  }

  /** Audit: every node holds the first of its children. O(pool). */
  checkIntegrity(): void {
    for (let node = 1; node < this.#numBlocks; node++) {
      const first = this.#playAt(node);
      if (this.#firsts[node] === first) continue;
      throw new InvariantError(
        `block ${this.#firsts[node]} leads at node ${node} of the tournament, not ${first}`,
      );
    }
  }

  #enter(id: BlockId): void {
    this.#members[id >> 3]! |= 1 << (id & 7);
    this.#length++;
  }

  #firstBelow(node: number): BlockId {
    if (node < this.#numBlocks) return this.#firsts[node]!;
    const id = node - this.#numBlocks;
    return this.has(id) ? id : NONE;
  }

  #playAt(node: number): BlockId {
    const a = this.#firstBelow(2 * node);
    const b = this.#firstBelow(2 * node + 1);
    if (a === NONE || b === NONE) return Math.max(a, b);
    return this.#isBefore(a, b) ? a : b;
  }
}
