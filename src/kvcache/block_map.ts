import {
  BLOCK_CACHED,
  BLOCK_GROUP_SHIFT,
  BLOCK_PINNED,
  type BlockMap,
  MAX_HOLDERS,
  NO_SEQUENCE,
} from "../core/engine_view.ts";
import type { SequenceId } from "../core/ids.ts";
import type { Pool } from "./pool/pool.ts";
import type { PrefixCache } from "./prefix/prefix_cache.ts";
import type { SequenceBlocks } from "./tables/sequence_blocks.ts";

/** All that says what a block is. */
export interface MappedBlocks {
  readonly pool: Pool;
  readonly cache: PrefixCache | undefined;
  readonly sequences: ReadonlyMap<SequenceId, SequenceBlocks>;
}

/** What each block of the pool is now. Changes nothing; O(pool + tables). */
export function mapBlocks({ pool, cache, sequences }: MappedBlocks): BlockMap {
  const { numBlocks } = pool;
  const states = new Uint8Array(numBlocks);
  const holders = new Uint8Array(numBlocks);
  const firstHolders = new Int32Array(numBlocks).fill(NO_SEQUENCE);
  const groups = new Uint8Array(numBlocks);
  const pinned = cache?.pins.flags(numBlocks);
  for (const [id, sequence] of sequences) {
    for (const { group, blocks } of sequence.held()) {
      for (const block of blocks) {
        if (firstHolders[block] !== NO_SEQUENCE) continue;
        firstHolders[block] = id;
        groups[block] = group;
      }
    }
  }
  for (let id = 0; id < numBlocks; id++) {
    const numHolders = pool.refCount(id);
    const isCached = pool.isMarked(id);
    if (numHolders === 0 && !isCached) continue;
    holders[id] = Math.min(MAX_HOLDERS, numHolders);
    const known = firstHolders[id] === NO_SEQUENCE ? cache?.groupOf(id) : groups[id];
    const group = pool.groupOf(id) ?? known ?? 0;
    states[id] = (isCached ? BLOCK_CACHED : 0) | (pinned?.[id] === 1 ? BLOCK_PINNED : 0) |
      group << BLOCK_GROUP_SHIFT;
  }
  return { states, holders, firstHolders };
}
