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

/** Adds the next tokens of an entry, whose blocks cover them, to the plan. */
export function addTo(plan: BatchPlan, entry: Sequence, blocks: BlockManager): void {
  if (entry instanceof BeamGroup) entry.addTo(plan, blocks);
  else plan.add(entry, plan.countFor(entry), blocks.blockTable(entry.id));
}
