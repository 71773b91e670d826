import { alignDown } from "../../base/math.ts";
import type { BlockId } from "../../core/ids.ts";
import { type GroupSpec, liveBlocks } from "./group_spec.ts";
import { leastCommonMultipleOf } from "../../core/slab_layout.ts";

/** Stands in a table for a block that is dead or was never needed; no kernel reads that entry. */
export const NO_BLOCK: BlockId = -1;

/** How much of a prompt is in the cache, for all groups together and for each alone. */
export interface HybridHit {
  /** Leading positions that no group needs to compute again; a multiple of every block length. */
  readonly numTokens: number;
  /**
   * Per group, one entry per block of those positions: a cached block where a later query reads it,
   * {@link NO_BLOCK} elsewhere. For a state space group the last entry is the state to copy.
   */
  readonly blocks: readonly (readonly BlockId[])[];
  /**
   * The longest hit of each group alone, in tokens; undefined for encoder groups, which set no
   * limit.
   */
  readonly groupTokens: readonly (number | undefined)[];
  /**
   * By how much the group with the longest hit is ahead of all together. Above 0, a chunk that ends
   * `junctionTokens` behind the hit and keeps what the others lack there makes the next one longer
   * (Marconi, MLSys 2025, arXiv:2411.19379).
   */
  readonly junctionTokens: number;
}

/** Finds the cached block `index` of the prompt in `group`, or undefined. */
export type FindBlock = (group: number, index: number) => BlockId | undefined;

/**
 * Finds the longest hit of at most `maxTokens` that is valid in every group: all blocks are cached
 * that {@link liveBlocks} names.
 *
 * Not the least of the groups' hits: a window that is cached at 3 blocks need not be at 2. So the
 * length is lowered to what one group allows until all allow it, which ends because it only falls.
 * Changes nothing. O(blocks looked up).
 */
export function longestHit(
  specs: readonly GroupSpec[],
  maxTokens: number,
  find: FindBlock,
): HybridHit {
  const limits = specs.filter((spec) => spec.kind !== "encoder");
  const step = leastCommonMultipleOf(limits.map((spec) => spec.tokensPerBlock));
  const groupTokens = specs.map((spec, group) =>
    spec.kind === "encoder" ? undefined : longestAlone(spec, maxTokens, (i) => find(group, i))
  );
  const known = groupTokens.filter((tokens) => tokens !== undefined);
  let numTokens = known.length === 0 ? 0 : alignDown(Math.min(...known), step);
  for (let group = 0; group < specs.length; group++) {
    const spec = specs[group]!;
    // What full attention has is closed under prefixes, so a shorter one is valid too.
    if (spec.kind === "encoder" || spec.kind === "full") continue;
    const valid = longestAlone(spec, numTokens, (i) => find(group, i));
    if (valid === numTokens) continue;
    numTokens = alignDown(valid, step);
    group = -1;
  }
  const blocks = specs.map((spec, group) => hitBlocks(spec, numTokens, (i) => find(group, i)));
  const junctionTokens = Math.max(0, ...known) - numTokens;
  return { numTokens, blocks, groupTokens, junctionTokens };
}

/** The longest valid hit of one group, in whole blocks of its own. */
function longestAlone(
  spec: GroupSpec,
  maxTokens: number,
  find: (index: number) => BlockId | undefined,
): number {
  const maxBlocks = Math.floor(maxTokens / spec.tokensPerBlock);
  if (spec.kind === "full") {
    let numBlocks = 0;
    while (numBlocks < maxBlocks && find(numBlocks) !== undefined) numBlocks++;
    return numBlocks * spec.tokensPerBlock;
  }
  // Every length above a missing block that reads it is invalid, and what is read only moves right;
  // so the search goes on to its left, and looks at each block but the sinks once.
  let numBlocks = maxBlocks;
  for (;;) {
    const missing = lastMissing(spec, numBlocks, find);
    if (missing === undefined) return numBlocks * spec.tokensPerBlock;
    numBlocks = missing;
  }
}

/** The last of the blocks that a hit of `numBlocks` needs and that is not cached. */
function lastMissing(
  spec: GroupSpec,
  numBlocks: number,
  find: (index: number) => BlockId | undefined,
): number | undefined {
  const { numSinkBlocks, start, end } = liveBlocks(spec, numBlocks * spec.tokensPerBlock);
  for (let index = end - 1; index >= start; index--) {
    if (find(index) === undefined) return index;
  }
  for (let index = numSinkBlocks - 1; index >= 0; index--) {
    if (find(index) === undefined) return index;
  }
  return undefined;
}

function hitBlocks(
  spec: GroupSpec,
  numTokens: number,
  find: (index: number) => BlockId | undefined,
): BlockId[] {
  if (spec.kind === "encoder") return [];
  const { numSinkBlocks, start } = liveBlocks(spec, numTokens);
  return Array.from(
    { length: numTokens / spec.tokensPerBlock },
    (_, index) => index >= start || index < numSinkBlocks ? find(index)! : NO_BLOCK,
  );
}
