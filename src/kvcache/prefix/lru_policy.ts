import { invariant } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";
import { BlockLists } from "../pool/block_lists.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { EvictionPolicy } from "./eviction_policy.ts";

const IDLE = 0;

/**
 * Evicts the block that has been idle longest.
 *
 * Blocks join the end of one list as they become idle, and of those that one sequence leaves the
 * deepest first; so the list stands in order of last use, its first block is a leaf, and every
 * operation is O(1). Memory: 8 bytes per block.
 */
export class LruPolicy implements EvictionPolicy {
  #lists: BlockLists;

  constructor(numBlocks: number) {
    this.#lists = new BlockLists(numBlocks, 1);
  }

  becomeCached(): void {}

  replace(): void {}

  hit(): void {}

  setRetention(): void {}

  becomeIdle(id: BlockId): void {
    this.#lists.putLast(IDLE, id);
  }

  becomeLeaf(): void {}

  remove(id: BlockId): void {
    this.#lists.remove(id);
  }

  next(): BlockId {
    const id = this.#lists.first(IDLE);
    invariant(id !== undefined, "nothing to evict");
    return id;
  }

  resize(remap: BlockRemap): void {
    this.#lists = this.#lists.remapped(remap);
  }

  checkIntegrity(numIdle: number): void {
    this.#lists.checkIntegrity();
    const numListed = this.#lists.length(IDLE);
    invariant(numListed === numIdle, `${numListed} blocks in order of use, ${numIdle} are idle`);
  }
}
