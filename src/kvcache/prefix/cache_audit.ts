import { InvariantError } from "../../base/invariant.ts";
import { type CacheSpec, NO_BLOCK } from "../../core/cache_group.ts";
import type { BlockId } from "../../core/ids.ts";
import type { CachedBlocks } from "./cached_blocks.ts";
import type { EncoderEntries } from "./encoder_entries.ts";
import type { NodeBlocks } from "./node_blocks.ts";
import type { NodeId } from "./radix_tree.ts";

/** What an audit of a prefix cache looks at. */
export interface AuditedCache extends CachedBlocks {
  readonly groups: readonly CacheSpec[];
  /** Absent where a node is its block. */
  readonly columns: NodeBlocks | undefined;
  /** Absent where no group is an encoder's. */
  readonly entries: EncoderEntries | undefined;
}

/** A path whose nodes can be counted. */
export interface PathNodes {
  /** Adds its nodes to `counts`, one entry per node. */
  countNodes(counts: number[]): void;
}

/** Audit: tree and policy are whole, and a holder of a block holds what is above it. O(pool). */
export function checkCache(cache: AuditedCache): void {
  const { pool, tree, columns, entries, idle } = cache;
  tree.checkIntegrity();
  columns?.checkIntegrity();
  entries?.checkIntegrity();
  let numIdleOffPaths = 0;
  for (let id = 0; id < pool.numBlocks; id++) {
    const node = nodeOf(cache, id);
    const isInEntry = entries?.entryOf(id) !== undefined;
    const isCached = node !== undefined || isInEntry;
    if (isCached !== pool.isMarked(id)) {
      const what = isCached ? "cached and not marked" : "marked and not cached";
      throw new InvariantError(`block ${id} is ${what}`);
    }
    if (node !== undefined && isInEntry) {
      throw new InvariantError(`block ${id} is an encoder's and in the tree`);
    }
    if (isInEntry && pool.isIdle(id)) numIdleOffPaths++;
    if (node === undefined) continue;
    const isOnPath = idle.isOnPath(id);
    const shouldBe = pool.isIdle(id) && (columns?.isHeld(node) ?? false);
    if (isOnPath !== shouldBe) {
      throw new InvariantError(`block ${id} is among the idle ones on paths, or lacks there`);
    }
    if (pool.isIdle(id) && !isOnPath) numIdleOffPaths++;
    checkAbove(cache, node, id);
  }
  idle.checkIntegrity(numIdleOffPaths);
}

/** Audit: each node counts the paths it lies on. O(nodes + nodes of paths). */
export function checkPaths(columns: NodeBlocks, paths: Iterable<PathNodes | undefined>): void {
  const counts = new Array<number>(columns.capacity).fill(0);
  for (const path of paths) path?.countNodes(counts);
  for (let node = 0; node < counts.length; node++) {
    if (counts[node] !== columns.numHolders(node)) {
      throw new InvariantError(
        `node ${node} is on ${counts[node]} paths and counts ${columns.numHolders(node)}`,
      );
    }
  }
}

/** Audit: a holder of a block of full attention holds the one above it. */
function checkAbove(cache: AuditedCache, node: NodeId, id: BlockId): void {
  const { pool, tree, columns, groups } = cache;
  const group = columns?.groupOf(id) ?? 0;
  if (groups[group]!.kind !== "full" || pool.isIdle(id)) return;
  const parent = tree.parentOf(node);
  if (parent === undefined) return;
  const above = columns?.blockOf(parent, group) ?? parent;
  if (above === NO_BLOCK || pool.isIdle(above)) {
    throw new InvariantError(`block ${id} is held, and block ${above} above it is not`);
  }
}

/** The node of a block; undefined for one that is not cached. */
function nodeOf({ tree, columns }: AuditedCache, id: BlockId): NodeId | undefined {
  if (columns === undefined) return tree.has(id) ? id : undefined;
  return columns.isCached(id) ? columns.nodeOf(id) : undefined;
}
