import { invariant } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";
import { BlockLists } from "../pool/block_lists.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { EvictionPolicy, ParentOf } from "./eviction_policy.ts";

const TAILS = 0;
const REST = 1;

/**
 * Evicts the ends of conversations first, those idle longest before others, and then what is idle
 * longest of the rest: a tail that is computed again within one step delays no first token, so
 * that its room is better given to whole conversations (tail-optimized LRU, Zhang et al. 2025,
 * arXiv:2510.15152).
 *
 *     tail of 2    [A]-[B]-[C]-[D]     C and D go before any block that is no tail;
 *                       '-[E]          so does E, and B not: D is 3 blocks from its end
 *
 * How far a block is from the end of the longest path below it counts from when paths are let go,
 * and stays so when those ends are gone: what is left of a conversation is no new tail. Every
 * operation is O(1). Memory: 13 bytes per block.
 */
export class TailLruPolicy implements EvictionPolicy {
  readonly #parentOf: ParentOf;
  readonly #numTailBlocks: number;
  #lists: BlockLists;
  /** Most blocks below each block on any path that was let go. */
  #numBelow: Uint32Array;

  constructor(
    numBlocks: number,
    { parentOf, numTailBlocks }: { readonly parentOf: ParentOf; readonly numTailBlocks: number },
  ) {
    this.#parentOf = parentOf;
    this.#numTailBlocks = numTailBlocks;
    this.#lists = new BlockLists(numBlocks, 2);
    this.#numBelow = new Uint32Array(numBlocks);
  }

  becomeCached(id: BlockId): void {
    this.#numBelow[id] = 0;
  }

  replace(before: BlockId, id: BlockId): void {
    this.#numBelow[id] = this.#numBelow[before]!;
  }

  hit(): void {}

  setRetention(): void {}

  becomeIdle(id: BlockId): void {
    const numBelow = this.#numBelow[id]!;
    const parent = this.#parentOf(id);
    // Children become idle before their parents, so a tail has only tails below it.
    if (parent !== undefined) {
      this.#numBelow[parent] = Math.max(this.#numBelow[parent]!, numBelow + 1);
    }
    this.#lists.putLast(numBelow < this.#numTailBlocks ? TAILS : REST, id);
  }

  becomeLeaf(): void {}

  remove(id: BlockId): void {
    this.#lists.remove(id);
  }

  next(): BlockId {
    const id = this.#lists.first(TAILS) ?? this.#lists.first(REST);
    invariant(id !== undefined, "nothing to evict");
    return id;
  }

  resize(remap: BlockRemap): void {
    this.#lists = this.#lists.remapped(remap);
    this.#numBelow = remap.column(this.#numBelow);
  }

  checkIntegrity(numIdle: number): void {
    this.#lists.checkIntegrity();
    const numListed = this.#lists.length(TAILS) + this.#lists.length(REST);
    invariant(numListed === numIdle, `${numListed} blocks in both lists, ${numIdle} are idle`);
  }
}
