import { type CacheSpec, liveRange, NO_BLOCK } from "../../core/cache_group.ts";
import type { BlockId } from "../../core/ids.ts";
import type { NodeBlocks } from "./node_blocks.ts";
import type { NodeId } from "./radix_tree.ts";

/** How much of a prompt is cached, and where. */
export interface Hit {
  /** The nodes of the hit, from the first positions on. */
  readonly nodes: readonly NodeId[];
  /**
   * Per group, one entry per node: a cached block where whatever goes on from there reads it,
   * NO_BLOCK elsewhere. Of a state the last entry is the snapshot to copy; of an encoder there are
   * none, since tokens do not lead to what is cached of it.
   */
  readonly blocks: readonly (readonly BlockId[])[];
  /** Nodes that the prompt leads through in the tree: those behind the hit included. */
  readonly numKnown: number;
}

/** What is found where nothing is cached. */
export function noHit(numGroups: number): Hit {
  const blocks: BlockId[][] = [];
  while (blocks.length < numGroups) blocks.push([]);
  return { nodes: [], blocks, numKnown: 0 };
}

/**
 * Cuts the path that a prompt leads along to the longest hit that every group accepts: all blocks
 * that {@link liveRange} names are cached.
 *
 * Not the least of the groups' own hits: a window that is cached at 3 blocks need not be at 2. So
 * the length is lowered to what one group allows until all allow it. Full attention allows every
 * length, since a node of a model with such layers has their blocks. O(nodes).
 */
export function longestHit(
  groups: readonly CacheSpec[],
  path: readonly NodeId[],
  columns: NodeBlocks,
  blockSize: number,
): Hit {
  let numBlocks = path.length;
  for (let before = -1; before !== numBlocks;) {
    before = numBlocks;
    groups.forEach((spec, group) => {
      if (spec.kind === "full" || spec.kind === "encoder") return;
      const isCached = (index: number) => columns.blockOf(path[index]!, group) !== NO_BLOCK;
      // Every length above a missing block that reads it is invalid, and what is read only moves
      // right; so the search goes on to its left.
      let missing: number | undefined;
      while ((missing = lastMissing(spec, numBlocks, blockSize, isCached)) !== undefined) {
        numBlocks = missing;
      }
    });
  }
  const nodes = path.slice(0, numBlocks);
  const blocks = groups.map((spec, group) => blocksOfHit(spec, group, nodes, columns, blockSize));
  return { nodes, blocks, numKnown: path.length };
}

/** The last of the blocks that a hit of `numBlocks` needs and that is not cached. */
function lastMissing(
  spec: CacheSpec,
  numBlocks: number,
  blockSize: number,
  isCached: (index: number) => boolean,
): number | undefined {
  const { numSinkBlocks, start, end } = liveRange(spec, numBlocks * blockSize, blockSize);
  for (let index = end - 1; index >= start; index--) if (!isCached(index)) return index;
  for (let index = numSinkBlocks - 1; index >= 0; index--) if (!isCached(index)) return index;
  return undefined;
}

function blocksOfHit(
  spec: CacheSpec,
  group: number,
  nodes: readonly NodeId[],
  columns: NodeBlocks,
  blockSize: number,
): BlockId[] {
  if (spec.kind === "encoder") return [];
  const { numSinkBlocks, start } = liveRange(spec, nodes.length * blockSize, blockSize);
  return nodes.map((node, index) =>
    index >= start || index < numSinkBlocks ? columns.blockOf(node, group) : NO_BLOCK
  );
}
