import type { BlockId } from "../../core/ids.ts";
import type { BlockKey } from "./block_key.ts";
import type { CachedBlocks, Eviction } from "./cached_blocks.ts";

/**
 * Eviction with one group of full attention, where a node is its block: an idle block goes as soon
 * as it is a leaf, and the one above it may then be the next.
 *
 * O(blocks evicted), times what the policy takes to choose.
 */
export class LeafEviction implements Eviction {
  readonly #cached: CachedBlocks;

  constructor(cached: CachedBlocks) {
    this.#cached = cached;
  }

  /**
   * Takes `count` idle blocks out of the tree, in the policy's order; they keep their marks. There
   * must be as many. A listener is told of all of them at once.
   */
  evict(count: number): BlockId[] {
    const { idle, records } = this.#cached;
    const ids: BlockId[] = [];
    const keys: BlockKey[] = [];
    while (ids.length < count) {
      const id = idle.next();
      const key = records.keyOf(id);
      if (key !== undefined) keys.push(key);
      records.rememberEvicted(id);
      this.#removeLeaf(id);
      ids.push(id);
    }
    records.numEvicted += count;
    records.tellAllRemoved(keys, 0);
    return ids;
  }

  evictUntilFree(numSlabs: number): void {
    const { pool } = this.#cached;
    for (const id of this.evict(Math.max(0, numSlabs - pool.numFree))) pool.unmark(id);
  }

  dropIdle(): void {
    const { idle } = this.#cached;
    while (idle.numIdleOffPaths > 0) this.#dropLeaf(idle.next());
  }

  /** A listener is told of all of them at once, before the first goes. */
  dropNodes(nodes: readonly BlockId[]): void {
    const { pool, tree, records } = this.#cached;
    const keys = nodes.flatMap((id) => records.keyOf(id) ?? []);
    records.tellAllRemoved(keys, 0);
    for (const id of nodes) {
      if (pool.isIdle(id)) this.#dropLeaf(id);
      else {
        records.numDropped++;
        tree.remove(id);
        pool.unmark(id);
      }
    }
  }

  /** Makes an idle leaf free. */
  #dropLeaf(id: BlockId): void {
    this.#removeLeaf(id);
    this.#cached.pool.unmark(id);
  }

  /** Takes an idle leaf out of policy and tree. */
  #removeLeaf(id: BlockId): void {
    const { pool, tree, idle, records } = this.#cached;
    const parent = tree.parentOf(id);
    idle.remove(id);
    records.numDropped++;
    tree.remove(id);
    if (parent !== undefined && tree.isLeaf(parent) && pool.isIdle(parent)) idle.becomeLeaf(parent);
  }
}
