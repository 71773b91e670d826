import { invariant } from "../base/invariant.ts";
import type { BlockMove } from "../core/batch.ts";
import { RequestError } from "../core/errors.ts";
import type { BlockId } from "../core/ids.ts";
import type { Pool } from "./pool/pool.ts";
import type { CopyQueue } from "./tables/copy_queue.ts";
import type { SequenceBlocks } from "./tables/sequence_blocks.ts";
import type { PinnedPrefixes } from "./prefix/pinned_prefixes.ts";
import type { PrefixCache } from "./prefix/prefix_cache.ts";

/** What a resize of the pool has done, and what the device has to do for it. */
export interface PoolResize {
  /** Blocks of the pool before and after. */
  readonly numBefore: number;
  readonly numAfter: number;
  /** Cached blocks dropped for it. */
  readonly numEvicted: number;
  /**
   * Contents to be moved before memory beyond the new end goes; no block is both left and moved to.
   */
  readonly moves: readonly BlockMove[];
}

/** What must fit into a pool. */
export interface PoolNeeds {
  readonly numBlocks: number;
  /** Blocks that tables, pins or copies need. */
  readonly numInUse: number;
  readonly pins: PinnedPrefixes | undefined;
}

/**
 * Refuses a size of the pool that is too small for what is in use or pinned.
 *
 * @throws {RequestError} with status 409 and the numbers.
 */
export function checkPoolSize(numBlocks: number, pool: PoolNeeds): void {
  invariant(Number.isInteger(numBlocks) && numBlocks > 0, `a pool of ${numBlocks} blocks`);
  const { numInUse, pins } = pool;
  const numPinned = pins?.numBlocks ?? 0;
  const details = { n_blocks: numBlocks, n_in_use: numInUse, n_pinned: numPinned };
  const what = `Cannot make the KV pool ${numBlocks} blocks`;
  if (numInUse > numBlocks) {
    throw new RequestError(
      `${what}: ${numInUse} of its ${pool.numBlocks} are in use, ${numPinned} of them pinned`,
      { status: 409, code: "kv_pool_in_use", param: "num_blocks", details },
    );
  }
  if (pins !== undefined && !pins.fits(numBlocks)) {
    throw new RequestError(`${what}: ${numPinned} are pinned, more than may be of so many`, {
      status: 409,
      code: "pin_limit_exceeded",
      param: "num_blocks",
      details,
    });
  }
}

/** All that knows blocks by id. */
interface BlockHolders {
  readonly pool: Pool;
  readonly cache: PrefixCache | undefined;
  readonly copies: CopyQueue;
  readonly sequences: Iterable<SequenceBlocks>;
}

/**
 * Resizes the pool to `numSlabs`, a size that it may have, and remaps all that knows blocks by id.
 * O(pool).
 */
export function resizePool(numSlabs: number, holders: BlockHolders): PoolResize {
  const { pool, cache, copies, sequences } = holders;
  const numBefore = pool.numSlabs;
  const numEvictedBefore = cache?.numEvicted ?? 0;
  cache?.evictUntilFree(numBefore - numSlabs);
  const remap = pool.planResize(numSlabs);
  const groups = groupsOfBlocks(remap.moves.map(({ from }) => from), holders);
  pool.resize(remap);
  cache?.resize(remap);
  copies.remap(remap);
  for (const sequence of sequences) sequence.remap(remap);
  const moves = remap.moves.map(({ from, to }, i) => {
    const group = groups[i]!;
    return { group, from: pool.idInGroup(from, group), to: pool.idInGroup(to, group) };
  });
  const numEvicted = (cache?.numEvicted ?? 0) - numEvictedBefore;
  return { numBefore, numAfter: numSlabs, numEvicted, moves };
}

/** The group of each block; one that none has any more may be moved as any group's. */
function groupsOfBlocks(
  ids: readonly BlockId[],
  { pool, cache, sequences }: BlockHolders,
): number[] {
  if (ids.length === 0) return [];
  const held = new Map<BlockId, number>();
  for (const sequence of sequences) {
    for (const { group, blocks } of sequence.held()) for (const id of blocks) held.set(id, group);
  }
  return ids.map((id) => pool.groupOf(id) ?? held.get(id) ?? cache?.groupOf(id) ?? 0);
}
