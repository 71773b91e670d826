import { NO_BLOCK } from "../core/cache_group.ts";
import {
  BLOCK_CACHED,
  BLOCK_GROUP_SHIFT,
  BLOCK_PINNED,
  type BlockMap,
  MAX_HOLDERS,
  NO_OWNER,
} from "../core/engine_view.ts";
import type { BlockId, SequenceId } from "../core/ids.ts";
import type { Pool } from "./pool/pool.ts";
import type { PrefixCache } from "./prefix/prefix_cache.ts";
import type { SequenceBlocks } from "./tables/sequence_blocks.ts";

/** All that says what a block is. */
export interface MappedBlocks {
  readonly pool: Pool;
  readonly cache: PrefixCache | undefined;
  readonly sequences: ReadonlyMap<SequenceId, SequenceBlocks>;
}

/** What each place of the pool is now. Changes nothing; O(pool + tables). */
export function mapBlocks({ pool, cache, sequences }: MappedBlocks): BlockMap {
  const { numBlocks } = pool;
  const states = new Uint8Array(numBlocks);
  const holders = new Uint8Array(numBlocks);
  const owners = new Int32Array(numBlocks).fill(NO_OWNER);
  const groups = new Uint8Array(numBlocks);
  const pinned = cache?.pins.flags(numBlocks);
  for (const [id, { tables, inputs }] of sequences) {
    const own = (block: BlockId, group: number) => {
      if (block === NO_BLOCK || owners[block] !== NO_OWNER) return;
      owners[block] = id;
      groups[block] = group;
    };
    tables.forEach((table, group) => table.forEach((block) => own(block, group)));
    for (const { group, blocks } of inputs?.held() ?? []) {
      blocks.forEach((block) => own(block, group));
    }
  }
  for (let id = 0; id < numBlocks; id++) {
    const numHolders = pool.refCount(id);
    const isCached = pool.isMarked(id);
    if (numHolders === 0 && !isCached) continue;
    holders[id] = Math.min(MAX_HOLDERS, numHolders);
    const group = owners[id] === NO_OWNER ? groupOfCached(id, pool, cache) : groups[id]!;
    states[id] = (isCached ? BLOCK_CACHED : 0) | (pinned?.[id] === 1 ? BLOCK_PINNED : 0) |
      group << BLOCK_GROUP_SHIFT;
  }
  return { states, holders, owners };
}

/** The group of a block that no table holds. */
function groupOfCached(id: BlockId, pool: Pool, cache: PrefixCache | undefined): number {
  const columns = cache?.columns;
  const entry = cache?.entries?.entryOf(id);
  const inNode = columns?.isCached(id) ? columns.groupOf(id) : undefined;
  return entry?.group ?? inNode ?? pool.groupOf(id) ?? 0;
}
