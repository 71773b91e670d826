import { invariant, InvariantError } from "../base/invariant.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { SwapStore } from "../kvcache/swap/swap_store.ts";
import type { Sequence } from "./sequence.ts";
import type { SequenceGroup } from "./sequence_group.ts";

/**
 * Audit: exactly `holders` have block tables, each long enough for its computed tokens; without any
 * sequence left, only pins use blocks. O(holders).
 */
export function checkHolders(
  holders: readonly Sequence[],
  blocks: BlockManager,
  isIdle: boolean,
): void {
  const { numSequences, blockSize, numInUse, pins } = blocks;
  invariant(
    numSequences === holders.length,
    `${numSequences} sequences with block tables, ${holders.length} that are to have them`,
  );
  for (const { id, numComputedTokens } of holders) {
    blocks.blockTables(id).forEach((table, group) => {
      const numSlots = table.length * blockSize;
      const { kind } = blocks.cacheGroups[group]!;
      if (numComputedTokens <= numSlots || kind === "state" || kind === "encoder") return;
      throw new InvariantError(
        `sequence ${id}: ${numComputedTokens} tokens computed, ${numSlots} slots of group ${group}`,
      );
    });
  }
  const numPinned = pins?.numBlocks ?? 0;
  invariant(
    !isIdle || numInUse <= numPinned,
    `idle, ${numInUse} blocks in use, ${numPinned} pinned`,
  );
}

/** Audit: host memory has blocks of groups that wait, and of no other. O(groups). */
export function checkSwapped(waiting: readonly SequenceGroup[], swap: SwapStore): void {
  const ids = new Set(waiting.map(({ id }) => id));
  for (const id of swap.ids) {
    if (ids.has(id)) continue;
    throw new InvariantError(`sequence ${id} has blocks in host memory and does not wait`);
  }
}
