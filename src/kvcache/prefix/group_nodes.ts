import { InvariantError } from "../../base/invariant.ts";
import { NO_BLOCK } from "../../core/cache_group.ts";
import type { CacheRetention } from "../../core/generation.ts";
import type { BlockId } from "../../core/ids.ts";
import type { GroupedBlocks } from "./cached_blocks.ts";
import type { NodeBlock } from "./node_blocks.ts";
import type { NodeEviction } from "./node_eviction.ts";
import type { BlockContent, NodeId, TreeParent } from "./radix_tree.ts";

/** The scope in which a block is found, and how long it is kept. */
export interface BlockCaching {
  readonly scope: string;
  readonly retention?: CacheRetention;
}

/**
 * What only a tree of several groups has: nodes that are made before they have blocks, blocks that
 * come to and leave a node one by one, and the paths of sequences that nodes lie on.
 *
 * Blocks of windows and states can be idle on the path of a sequence that runs, which does not read
 * them any more; they are evicted after all others, since the path was used last. Every operation
 * costs O(groups) per node or block passed.
 */
export class GroupNodes {
  readonly #cached: GroupedBlocks;
  readonly #eviction: NodeEviction;

  constructor(cached: GroupedBlocks, eviction: NodeEviction) {
    this.#cached = cached;
    this.#eviction = eviction;
  }

  /** Puts nodes on the path of one more sequence. */
  hold(nodes: readonly NodeId[]): void {
    for (const node of nodes) if (this.#cached.columns.hold(node)) this.#reorder(node);
  }

  /**
   * Takes nodes off the path of a sequence, the last of them first: what is idle there was last
   * used now, and what lies deeper goes first.
   */
  unhold(nodes: readonly NodeId[]): void {
    for (let i = nodes.length - 1; i >= 0; i--) {
      const node = nodes[i]!;
      if (!this.#cached.columns.unhold(node)) continue;
      this.#reorder(node);
      this.#eviction.prune(node);
    }
  }

  /**
   * Makes a node of that content, which its parent has no child of yet, on the path of the caller,
   * which holds the nodes above.
   */
  add(above: TreeParent, { tokens, start }: BlockContent): NodeId {
    const { tree, columns } = this.#cached;
    if (above.parent !== undefined && !columns.isHeld(above.parent)) {
      throw new InvariantError(`a node is put below node ${above.parent}, which is on no path`);
    }
    const node = columns.open();
    if (columns.capacity > tree.capacity) tree.grow(columns.capacity);
    tree.insert(above, tokens, start, node);
    return node;
  }

  /** Makes block `id`, which the caller holds, findable at a node where its group has none. */
  setBlock(
    { node, group, id }: NodeBlock,
    { scope, retention }: BlockCaching,
  ): void {
    const { pool, columns, idle, records } = this.#cached;
    pool.mark(id);
    columns.set(node, group, id);
    idle.policy.becomeCached(id);
    if (retention !== undefined) idle.policy.setRetention(id, retention);
    records.tellStored(node, group, scope);
  }

  /**
   * Has block `id`, which the caller holds and nobody else, replace the one that stands for a node
   * in that group: the content is the same, so nobody is told. Without references the other is
   * free.
   */
  replaceBlock({ node, group, id }: NodeBlock): void {
    const { pool, columns, idle } = this.#cached;
    const before = columns.blockOf(node, group);
    if (pool.isIdle(before)) idle.remove(before);
    columns.clear(node, group);
    pool.unmark(before);
    pool.mark(id);
    columns.set(node, group, id);
    idle.policy.replace(before, id);
  }

  /** Makes a cached block of a group that is not full unfindable; its holders keep it. */
  forgetBlock(id: BlockId): void {
    const { columns } = this.#cached;
    if (!columns.isCached(id)) return;
    this.#eviction.dropBlock(columns.nodeOf(id), columns.groupOf(id));
  }

  /** Makes a block of a group that is not full unfindable if nobody uses it: it is free then. */
  dropIdle({ node, group, id }: NodeBlock): void {
    const { pool, columns } = this.#cached;
    if (!pool.isIdle(id) || columns.blockOf(node, group) !== id) return;
    this.#eviction.dropBlock(node, group);
  }

  /** All blocks that nodes have, in the nodes' order. */
  blocksAt(nodes: readonly NodeId[]): BlockId[] {
    const { columns, groups } = this.#cached;
    return nodes.flatMap((node) =>
      groups.map((_, group) => columns.blockOf(node, group)).filter((id) => id !== NO_BLOCK)
    );
  }

  /** A node is on a path now, or on none any more: its idle blocks change their order. */
  #reorder(node: NodeId): void {
    const { pool, columns, groups, idle } = this.#cached;
    for (let group = 0; group < groups.length; group++) {
      const id = columns.blockOf(node, group);
      if (id === NO_BLOCK || !pool.isIdle(id)) continue;
      idle.remove(id);
      idle.add(id);
    }
  }
}
