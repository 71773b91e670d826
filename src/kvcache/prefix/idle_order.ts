import { InvariantError } from "../../base/invariant.ts";
import type { CacheSpec } from "../../core/cache_group.ts";
import type { BlockId } from "../../core/ids.ts";
import { BlockLists } from "../pool/block_lists.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { EvictionPolicy } from "./eviction_policy.ts";
import type { NodeBlocks } from "./node_blocks.ts";
import type { RadixTree } from "./radix_tree.ts";

/** The list of idle blocks on paths of sequences. */
const ON_PATHS = 0;

/** What blocks stand for. */
export interface IdleBlocksOf {
  readonly groups: readonly CacheSpec[];
  /** Absent where a node is its block. */
  readonly columns: NodeBlocks | undefined;
}

/**
 * The idle blocks of all groups in the order in which they go: those on no path by the policy, and
 * after them those on paths of sequences, which were used last, in the order in which they became
 * idle. Blocks of full attention on a path are in use, so none of the latter has to wait for
 * others.
 *
 * Every operation costs what the policy's does. Memory beside the policy's: 8 bytes per block, and
 * none where a node is its block.
 */
export class IdleOrder {
  readonly policy: EvictionPolicy;
  readonly #tree: RadixTree;
  readonly #groups: readonly CacheSpec[];
  readonly #columns: NodeBlocks | undefined;
  #onPaths: BlockLists | undefined;
  #numIdleOffPaths = 0;

  constructor(
    policy: EvictionPolicy,
    numBlocks: number,
    tree: RadixTree,
    { groups, columns }: IdleBlocksOf,
  ) {
    this.policy = policy;
    this.#tree = tree;
    this.#groups = groups;
    this.#columns = columns;
    this.#onPaths = columns && new BlockLists(numBlocks, 1);
  }

  /** Idle blocks on no path. */
  get numIdleOffPaths(): number {
    return this.#numIdleOffPaths;
  }

  /** Whether a block is idle on the path of a sequence. */
  isOnPath(id: BlockId): boolean {
    return this.#onPaths?.has(id) ?? false;
  }

  /** A block has become idle. */
  add(id: BlockId): void {
    const columns = this.#columns;
    if (columns === undefined) this.policy.becomeIdle(id, this.#tree.isLeaf(id));
    else if (!columns.isCached(id)) this.policy.becomeIdle(id, true); // An encoder's: no children.
    else {
      const node = columns.nodeOf(id);
      if (columns.isHeld(node)) return this.#onPaths!.putLast(ON_PATHS, id);
      const isFull = this.#groups[columns.groupOf(id)]!.kind === "full";
      this.policy.becomeIdle(id, !isFull || this.#tree.isLeaf(node));
    }
    this.#numIdleOffPaths++;
  }

  /** An idle block is used again, or gone. */
  remove(id: BlockId): void {
    if (this.#onPaths?.has(id)) return this.#onPaths.remove(id);
    this.policy.remove(id);
    this.#numIdleOffPaths--;
  }

  /** Nothing of full attention hangs below an idle block of it any more. */
  becomeLeaf(id: BlockId): void {
    if (!this.isOnPath(id)) this.policy.becomeLeaf(id);
  }

  /** The block to evict next; there must be one. */
  next(): BlockId {
    const id = this.#numIdleOffPaths > 0 ? this.policy.next() : this.#onPaths?.first(ON_PATHS);
    if (id === undefined) throw new InvariantError("nothing to evict");
    return id;
  }

  /** Follows blocks to their new ids. O(pool). */
  resize(remap: BlockRemap): void {
    this.#onPaths = this.#onPaths?.remapped(remap);
    this.policy.resize(remap);
  }

  /** Audit, given how many blocks are idle on no path. O(pool). */
  checkIntegrity(numIdleOffPaths: number): void {
    this.#onPaths?.checkIntegrity();
    if (numIdleOffPaths !== this.#numIdleOffPaths) {
      throw new InvariantError(
        `${numIdleOffPaths} blocks are idle on no path, counted ${this.#numIdleOffPaths}`,
      );
    }
    this.policy.checkIntegrity(numIdleOffPaths);
  }
}
