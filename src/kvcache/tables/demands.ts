import {
  type CacheSpec,
  liveRange,
  maxLiveBlocks,
  numLiveBlocks,
  type StepGrain,
} from "../../core/cache_group.ts";
import { ceilDiv } from "../../base/math.ts";
import type { Demand } from "../pool/pool.ts";
import type { BlockTables } from "./block_tables.ts";

/**
 * Blocks to take for a sequence of `numTokens` of which the first `numCached`, a block boundary,
 * are shared with others, per group.
 *
 * A group gets the blocks of all known tokens, but never more than the sequence holds at once: as a
 * window moves on, the blocks that die behind it pay for those ahead. A state is never shared.
 */
export function admissionDemand(
  groups: readonly CacheSpec[],
  numTokens: number,
  numCached: number,
  grain: StepGrain,
): Demand {
  return groups.map((spec) => {
    const most = maxLiveBlocks(spec, numTokens, grain);
    if (spec.kind === "state" || spec.kind === "encoder") return most;
    const numNew = ceilDiv(numTokens, grain.blockSize) - numCached / grain.blockSize;
    const numShared = numLiveBlocks(liveRange(spec, numCached, grain.blockSize));
    return Math.max(0, Math.min(numNew, most - numShared));
  });
}

/**
 * Blocks to take for a sequence of `numTokens` that goes on behind `numComputed` of them: those
 * that are copied in, without the first `numFound` of full attention, which are cached, and those
 * for the rest.
 */
export function swapInDemand(
  groups: readonly CacheSpec[],
  numTokens: number,
  { numComputed, numFound }: { readonly numComputed: number; readonly numFound: number },
  grain: StepGrain,
): Demand {
  return groups.map((spec) => {
    const most = maxLiveBlocks(spec, numTokens, grain);
    if (spec.kind === "state" || spec.kind === "encoder") return most;
    const numEntries = ceilDiv(numTokens, grain.blockSize);
    if (spec.kind === "full") return numEntries - numFound;
    const range = liveRange(spec, numComputed, grain.blockSize);
    const numLive = numLiveBlocks(range);
    return numLive + Math.max(0, Math.min(numEntries - range.end, most - numLive));
  });
}

/** Blocks that tables lack to cover the first `numTokens` positions, per group. */
export function extensionDemand(
  groups: readonly CacheSpec[],
  tables: BlockTables,
  numTokens: number,
  blockSize: number,
): Demand {
  return groups.map(({ kind }, group) =>
    kind === "state" || kind === "encoder"
      ? 0
      : Math.max(0, ceilDiv(numTokens, blockSize) - tables[group]!.length)
  );
}
