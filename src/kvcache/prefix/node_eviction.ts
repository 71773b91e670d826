import { NO_BLOCK } from "../../core/cache_group.ts";
import type { BlockId } from "../../core/ids.ts";
import type { Eviction, GroupedBlocks } from "./cached_blocks.ts";
import type { EncoderEntries } from "./encoder_entries.ts";
import type { NodeId } from "./radix_tree.ts";

/**
 * Eviction where a node has a block per group, or a tombstone.
 *
 * With full attention a node goes with its block of that group, and so do the blocks that other
 * groups have there: no hit could reach them. Blocks of other groups go alone. Without full
 * attention a node that has no block, nothing below it and no path on it follows its last block.
 * The output of an encoder goes whole.
 *
 * O(groups) per block, times what the policy takes to choose.
 */
export class NodeEviction implements Eviction {
  readonly #cached: GroupedBlocks;
  readonly #entries: EncoderEntries | undefined;
  readonly #hasFull: boolean;

  /** `entries` are those of encoders; absent where no group is one's. */
  constructor(cached: GroupedBlocks, entries: EncoderEntries | undefined) {
    this.#cached = cached;
    this.#entries = entries;
    this.#hasFull = cached.groups.some(({ kind }) => kind === "full");
  }

  /** Evicts the next idle block, or node: those on no path before those on one. */
  evictNext(): void {
    const { columns, idle, records } = this.#cached;
    const id = idle.next();
    const before = records.numDropped;
    if (columns.groupOf(id) === 0) records.rememberEvicted(columns.nodeOf(id));
    this.#drop(id, true);
    records.numEvicted += records.numDropped - before;
  }

  evictUntilFree(numSlabs: number): void {
    while (this.#cached.pool.numFree < numSlabs) this.evictNext();
  }

  dropIdle(): void {
    const { idle } = this.#cached;
    while (idle.numIdleOffPaths > 0) this.#drop(idle.next(), false);
  }

  /** A listener is told of each block as it goes. */
  dropNodes(nodes: readonly NodeId[]): void {
    for (const node of nodes) this.#dropNode(node, true);
  }

  /**
   * Makes what a node has in a group that is not full unfindable; without a holder it is free. The
   * listener is told.
   */
  dropBlock(node: NodeId, group: number): void {
    this.#detach(node, group, true);
    this.prune(node);
  }

  /**
   * Takes nodes out of the tree, from this one up, that have no block, nothing below them, and are
   * on no path. With full attention there are none.
   */
  prune(from: NodeId): void {
    if (this.#hasFull) return;
    const { tree, columns } = this.#cached;
    let node: NodeId | undefined = from;
    while (
      node !== undefined && columns.isAttached(node) && columns.isEmpty(node) &&
      !columns.isHeld(node) && tree.isLeaf(node)
    ) {
      const parent = tree.parentOf(node);
      this.#removeNode(node);
      node = parent;
    }
  }

  /** Makes an idle block free; one of full attention is a leaf, and goes with its node. */
  #drop(id: BlockId, isTold: boolean): void {
    const { columns, groups } = this.#cached;
    const entry = this.#entries?.entryOf(id);
    if (entry !== undefined) return this.#entries!.drop(entry, isTold);
    const [node, group] = [columns.nodeOf(id), columns.groupOf(id)];
    if (groups[group]!.kind === "full") return this.#dropNode(node, isTold);
    this.#detach(node, group, isTold);
    this.prune(node);
  }

  /** Takes a leaf out of the tree, with all its blocks; those in use stay with their holders. */
  #dropNode(node: NodeId, isTold: boolean): void {
    const { columns, groups } = this.#cached;
    for (let group = 0; group < groups.length; group++) {
      if (columns.blockOf(node, group) !== NO_BLOCK) this.#detach(node, group, isTold);
    }
    this.#removeNode(node);
  }

  /** Takes a leaf without blocks out of the tree. */
  #removeNode(node: NodeId): void {
    const { pool, tree, columns, groups, idle } = this.#cached;
    const parent = tree.parentOf(node);
    tree.remove(node);
    columns.close(node);
    if (parent === undefined || !tree.isLeaf(parent)) return;
    groups.forEach(({ kind }, group) => {
      const id = columns.blockOf(parent, group);
      const isIdle = id !== NO_BLOCK && pool.isIdle(id);
      if (kind === "full" && isIdle) idle.becomeLeaf(id);
    });
  }

  #detach(node: NodeId, group: number, isTold: boolean): void {
    const { pool, columns, idle, records } = this.#cached;
    const id = columns.blockOf(node, group);
    if (isTold) records.tellRemoved(node, group);
    if (pool.isIdle(id)) idle.remove(id);
    columns.clear(node, group);
    pool.unmark(id);
    records.numDropped++;
  }
}
