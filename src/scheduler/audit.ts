import { invariant } from "../base/invariant.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { Sequence } from "./sequence.ts";

/**
 * Audit: exactly `holders` have block tables, each long enough for its computed tokens; without any
 * sequence left, only pins use blocks. O(holders).
 */
export function checkHolders(
  holders: readonly Sequence[],
  blocks: BlockManager,
  isIdle: boolean,
): void {
  const { numTables, blockSize, numInUse, pins } = blocks;
  invariant(
    numTables === holders.length,
    `${numTables} block tables, ${holders.length} sequences to hold them`,
  );
  for (const { id, numComputedTokens } of holders) {
    blocks.blockTables(id).forEach((table, group) => {
      const numSlots = table.length * blockSize;
      const { kind } = blocks.groups[group]!;
      invariant(
        numComputedTokens <= numSlots || kind === "state" || kind === "encoder",
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
