import { type CacheSpec, isInRange, liveRange, NO_BLOCK } from "../../core/cache_group.ts";
import { ceilDiv } from "../../base/math.ts";
import type { BlockId } from "../../core/ids.ts";
import type { Pool } from "../pool/pool.ts";
import type { PrefixCache } from "../prefix/prefix_cache.ts";
import type { SwapContents, SwappedSequence, TableEntry } from "../swap/swap_store.ts";
import { type BlockTables, liveBlocksOf } from "./block_tables.ts";
import type { SequenceBlocks } from "./sequence_blocks.ts";

/** What the contents of a swap are worked out with. */
export interface SwapContext {
  readonly groups: readonly CacheSpec[];
  readonly blockSize: number;
  readonly pool: Pool;
  readonly cache: PrefixCache | undefined;
}

/**
 * What has to be copied of a sequence so that it can go on where it is: the blocks that it reads.
 * With one group of full attention its leading blocks are left out as far as others hold them and
 * the cache finds them.
 */
export function swapContents(
  { tables, numComputedTokens: numTokens }: SequenceBlocks,
  { groups, blockSize, pool, cache }: SwapContext,
): SwapContents {
  const numSkipped = cache?.canHit ? numHeldByOthers(tables, cache) : 0;
  const entries = groups.map((spec, group): TableEntry[] => {
    const named = (id: BlockId, index: number) => ({ index, block: pool.idInGroup(id, group) });
    const table = tables[group]!;
    if (spec.kind === "state") return table.map(named);
    const range = liveRange(spec, numTokens, blockSize);
    return table.slice(0, ceilDiv(numTokens, blockSize)).map(named)
      .filter(({ index }) => index >= numSkipped && isInRange(range, index));
  });
  return { numTokens, numSkipped, entries };
}

/** Leading blocks that are findable and have other holders. With several groups: 0. */
function numHeldByOthers([table]: BlockTables, cache: PrefixCache): number {
  if (cache.columns !== undefined) return 0;
  const own = table!.findIndex((id) => !cache.has(id) || cache.isUnshared(id));
  return own < 0 ? table!.length : own;
}

/** Whether blocks in host memory follow on the cached ones without a gap, and reach further. */
export function canSwapIn(
  { numTokens, numSkipped }: SwappedSequence,
  numFound: number,
  blockSize: number,
): boolean {
  return numFound >= numSkipped && numFound * blockSize < numTokens;
}

/**
 * The tables of a sequence that goes on behind `numComputed` positions: what was found of full
 * attention and what was taken, which lies where its blocks lay.
 */
export function swappedInTables(
  groups: readonly CacheSpec[],
  { found, taken, numComputed, blockSize }: {
    readonly found: BlockTables;
    readonly taken: BlockTables;
    readonly numComputed: number;
    readonly blockSize: number;
  },
): BlockTables {
  return groups.map((spec, group) => {
    const blocks = taken[group]!;
    if (spec.kind === "state" || spec.kind === "encoder") return blocks;
    if (spec.kind === "full") return [...found[group]!, ...blocks];
    const range = liveRange(spec, numComputed, blockSize);
    let numUsed = 0;
    const table = Array.from(
      { length: range.end },
      (_, index) => isInRange(range, index) ? blocks[numUsed++]! : NO_BLOCK,
    );
    return [...table, ...blocks.slice(numUsed)];
  });
}

/** The blocks of a hit but for windows and states, which a swapped sequence has in host memory. */
export function fullBlocksOf(groups: readonly CacheSpec[], blocks: BlockTables): BlockTables {
  return blocks.map((ids, group) => groups[group]!.kind === "full" ? liveBlocksOf(ids) : []);
}
