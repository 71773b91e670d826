import type { CacheSpec } from "../../core/cache_group.ts";
import type { Pool } from "../pool/pool.ts";
import type { CacheRecords } from "./cache_records.ts";
import type { IdleOrder } from "./idle_order.ts";
import type { NodeBlocks } from "./node_blocks.ts";
import type { NodeId, RadixTree } from "./radix_tree.ts";

/** All that knows of a cached block where a node is its block: with one group of full attention. */
export interface CachedBlocks {
  /** Whether it is in use, and its mark. */
  readonly pool: Pool;
  /** What it holds. */
  readonly tree: RadixTree;
  /** When it goes, while it is idle. */
  readonly idle: IdleOrder;
  /** What is told of it. */
  readonly records: CacheRecords;
}

/** The same where a node has a block per group, or a tombstone. */
export interface GroupedBlocks extends CachedBlocks {
  readonly groups: readonly CacheSpec[];
  /** Which block of which group stands for which node. */
  readonly columns: NodeBlocks;
}

/** How cached blocks stop being findable. */
export interface Eviction {
  /** Evicts until `numSlabs` are free, in the policy's order; there must be as many. */
  evictUntilFree(numSlabs: number): void;
  /** Frees all blocks that are idle on no path, without telling a listener. */
  dropIdle(): void;
  /**
   * Takes nodes, each before its parent, out of the tree with their blocks; holders keep theirs.
   */
  dropNodes(nodes: readonly NodeId[]): void;
}
