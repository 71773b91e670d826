import {
  type CacheSpec,
  isInRange,
  liveRange,
  NO_BLOCK,
  type StepGrain,
} from "../../core/cache_group.ts";
import type { BlockId } from "../../core/ids.ts";
import type { Demand } from "../pool/pool.ts";
import { admissionDemand } from "./demands.ts";
import type { BlockTables } from "./block_tables.ts";
import type { SequenceBlocks } from "./sequence_blocks.ts";

/** What a fork of a sequence shares, takes and copies; decided before anything changes. */
export interface ForkPlan {
  /** Per group, the whole blocks that both sequences read. */
  readonly shared: BlockTables;
  /** Per group, the block to copy into the first that is taken; undefined where there is none. */
  readonly copied: readonly (BlockId | undefined)[];
  readonly demand: Demand;
}

/**
 * Plans a fork of `numTokens` tokens that has the first `numShared` in common with `source`.
 *
 * Whole blocks are shared as far as the fork reads them; the block that they fill in part is
 * copied, and so is a state, since both sequences write theirs. Undefined where the source does not
 * have that any more: a window has moved on, or a state has.
 */
export function planFork(
  groups: readonly CacheSpec[],
  source: SequenceBlocks,
  { numTokens, numShared }: { readonly numTokens: number; readonly numShared: number },
  grain: StepGrain,
): ForkPlan | undefined {
  const { blockSize } = grain;
  const numBlocks = Math.floor(numShared / blockSize);
  const hasPartialBlock = numShared % blockSize > 0;
  const shared: (readonly BlockId[])[] = [];
  const copied: (BlockId | undefined)[] = [];
  for (const [group, spec] of groups.entries()) {
    const table = source.tables[group]!;
    if (spec.kind === "state") {
      if (numShared > 0 && source.numComputedTokens !== numShared) return undefined;
      shared.push([]);
      copied.push(numShared > 0 ? table[0] : undefined);
    } else {
      const whole = wholeBlocks(spec, table, { numShared, numBlocks, blockSize });
      const last = hasPartialBlock ? table[numBlocks] : undefined;
      if (whole === undefined || last === NO_BLOCK) return undefined;
      shared.push(whole);
      copied.push(last);
    }
  }
  const demand = admissionDemand(groups, numTokens, numBlocks * blockSize, grain);
  return { shared, copied, demand };
}

/** The shared part of a table; undefined if a block of it is dead that the fork reads. */
function wholeBlocks(
  spec: CacheSpec,
  table: readonly BlockId[],
  { numShared, numBlocks, blockSize }: { numShared: number; numBlocks: number; blockSize: number },
): readonly BlockId[] | undefined {
  const whole = table.slice(0, numBlocks);
  if (spec.kind === "full") return whole;
  const range = liveRange(spec, numShared, blockSize);
  const read = whole.map((id, index) => isInRange(range, index) ? id : NO_BLOCK);
  const isDead = read.some((id, index) => id === NO_BLOCK && isInRange(range, index));
  return isDead ? undefined : read;
}
