import { type CacheGroup, maxLiveBlocks, type StepGrain } from "../core/cache_group.ts";
import type { KvFormat } from "../core/kv_layout.ts";
import {
  groupMemory,
  type KvBufferLayout,
  numSlabsFor,
  planKvBuffers,
  slabBytesOf,
} from "../core/kv_buffers.ts";
import { bytesPerToken, bytesPerTokenByGroup } from "./kv_dtypes.ts";
import { groupsOf, type ModelShape, windowOf } from "./model_shape.ts";

/** KV format, block size and step size of a pool. */
export interface PoolSettings extends KvFormat {
  /** Token positions per block. */
  readonly blockSize: number;
  /** Most tokens of one step: a window cannot move on before a chunk is computed whole. */
  readonly maxNumBatchedTokens: number;
}

/** A pool as the server cuts it for a model. */
export interface PlannedPool {
  readonly groups: readonly CacheGroup[];
  readonly layout: KvBufferLayout;
  readonly grain: StepGrain;
  /** Of one slab, in all KV buffers together; of one block, where there is one group. */
  readonly slabBytes: number;
}

/** The pool of a model in a KV format. */
export function planPool(
  shape: Pick<ModelShape, "caches">,
  { blockSize, maxNumBatchedTokens, ...format }: PoolSettings,
): PlannedPool {
  const groups = groupsOf(shape);
  const sizes = { numLayers: shape.caches.length, blockSize };
  const layout = planKvBuffers(groupMemory(groups, format, sizes));
  const grain = { blockSize, maxInFlightTokens: maxNumBatchedTokens };
  return { groups, layout, grain, slabBytes: slabBytesOf(layout) };
}

/**
 * Most bytes that a sequence of `numTokens` ever holds at once, from its first chunk on, in whole
 * slabs of each group: exact, as `maxLiveBlocks` is.
 */
export function plannedSequenceBytes(
  { groups, layout, grain, slabBytes }: PlannedPool,
  numTokens: number,
): number {
  const blocks = groups.map((group) => maxLiveBlocks(group, numTokens, grain));
  return numSlabsFor(layout, blocks) * slabBytes;
}

/** Sequences of `numTokens` each that `memoryBytes` hold at once, the last one perhaps in part. */
export function concurrency(pool: PlannedPool, memoryBytes: number, numTokens: number): number {
  return memoryBytes / plannedSequenceBytes(pool, numTokens);
}

/**
 * Longest sequence, at most `limit` tokens, that fits into `memoryBytes`; 0 where none does. O(log
 * limit): a sequence never shrinks as it grows longer.
 */
export function longestSequence(pool: PlannedPool, memoryBytes: number, limit: number): number {
  let [fits, fails] = [0, limit + 1];
  while (fails - fits > 1) {
    const middle = Math.floor((fits + fails) / 2);
    if (plannedSequenceBytes(pool, middle) <= memoryBytes) fits = middle;
    else fails = middle;
  }
  return fits;
}

/** Bytes of the largest buffer of a pool of `memoryBytes`. */
export function largestBufferBytes(
  { layout, slabBytes }: PlannedPool,
  memoryBytes: number,
): number {
  return Math.floor(memoryBytes / slabBytes) * Math.max(...layout.slabBytes);
}

/**
 * Share of the KV of a sequence of `numTokens` that no layer reads any more, if every layer keeps
 * every position: what groups of their own save. Of positions, without the rounding to blocks.
 */
export function shareUnread(shape: ModelShape, numTokens: number, format: KvFormat): number {
  const bytes = bytesPerTokenByGroup(shape, format);
  const read = groupsOf(shape).map((group, index) =>
    bytes[index]! * Math.min(numTokens, windowOf(group) ?? numTokens)
  );
  const total = read.reduce((sum, count) => sum + count, 0);
  return 1 - total / (numTokens * bytesPerToken(shape, format));
}
