import type { BlockManager } from "../kvcache/block_manager.ts";
import { BeamGroup } from "./beam_group.ts";
import type { BatchPlan } from "./batch_plan.ts";
import type { Sequence } from "./sequence.ts";

/**
 * Whether the blocks of a running entry could be made to cover what the rest of the plan's budget lets
 * it compute; nothing has changed if not.
 */
export function tryGrow(entry: Sequence, plan: BatchPlan, blocks: BlockManager): boolean {
  if (entry instanceof BeamGroup) return entry.tryGrow(plan, blocks);
  return blocks.tryExtend(entry.id, entry.numComputedTokens + plan.countFor(entry));
}

/** Blocks that {@link tryGrow} takes beside those an entry's tables have, if the budget allows all of it. */
export function numBlocksToGrow(entry: Sequence, blocks: BlockManager): number {
  if (entry instanceof BeamGroup) return entry.numBlocksToGrow(blocks);
  return Math.max(0, blocks.numBlocksFor(entry.numTokens) - blocks.blockTable(entry.id).length);
}

/**
 * Blocks missing for the admission of an entry that waits, beside those that are free or can be evicted;
 * 0 if it fits. O(blocks of its tokens).
 */
export function numBlocksMissing(entry: Sequence, blocks: BlockManager): number {
  const { caching } = entry;
  const { allTokens } = entry.members[0]!;
  const numReserved = entry instanceof BeamGroup ? entry.numBlocksBesideLeader(blocks) : 0;
  return blocks.numBlocksMissing(allTokens, { ...caching, numReserved });
}

/** Adds the next tokens of an entry, whose blocks cover them, to the plan. */
export function addTo(plan: BatchPlan, entry: Sequence, blocks: BlockManager): void {
  if (entry instanceof BeamGroup) entry.addTo(plan, blocks);
  else plan.add(entry, plan.countFor(entry), blocks.blockTable(entry.id));
}
