import { maxLiveBlocks } from "../core/cache_group.ts";
import type { KvFormat } from "../core/kv_layout.ts";
import { bytesPerToken, bytesPerTokenByGroup } from "./kv_dtypes.ts";
import { groupsOf, type ModelShape, windowOf } from "./model_shape.ts";

/** KV format, block size and step size of a pool. */
export interface PoolSettings extends KvFormat {
  /** Token positions per block. */
  readonly blockSize: number;
  /** Most tokens of one step: a window cannot move on before a chunk is computed whole. */
  readonly maxNumBatchedTokens: number;
}

/**
 * Most bytes of the blocks that a sequence of `numTokens` ever holds at once, from its first chunk
 * on, all groups together; of layers with a state, the state.
 */
export function sequenceBytes(
  shape: Pick<ModelShape, "caches">,
  numTokens: number,
  settings: PoolSettings,
): number {
  const { blockSize, maxNumBatchedTokens: maxInFlightTokens } = settings;
  const bytes = bytesPerTokenByGroup(shape, settings);
  return sum(
    groupsOf(shape).map((group, index) => {
      const blockBytes = group.kind === "state"
        ? group.layers.length * group.stateBytes
        : blockSize * bytes[index]!;
      return maxLiveBlocks(group, numTokens, { blockSize, maxInFlightTokens }) * blockBytes;
    }),
  );
}

/** Sequences of `numTokens` each that `memoryBytes` hold at once, the last one perhaps in part. */
export function concurrency(
  shape: ModelShape,
  memoryBytes: number,
  { numTokens, ...settings }: PoolSettings & { readonly numTokens: number },
): number {
  return memoryBytes / sequenceBytes(shape, numTokens, settings);
}

/**
 * Longest sequence, at most `limit` tokens, whose blocks fit into `memoryBytes`; 0 where none does.
 * O(log limit): a sequence never shrinks as it grows longer.
 */
export function longestSequence(
  shape: ModelShape,
  memoryBytes: number,
  { limit, ...settings }: PoolSettings & { readonly limit: number },
): number {
  let [fits, fails] = [0, limit + 1];
  while (fails - fits > 1) {
    const middle = Math.floor((fits + fails) / 2);
    if (sequenceBytes(shape, middle, settings) <= memoryBytes) fits = middle;
    else fails = middle;
  }
  return fits;
}

/**
 * Share of a sequence's KV that no layer reads any more where every layer keeps every position:
 * what separate groups save. `numTokens` positions in one long sequence, no blocks counted.
 */
export function shareUnread(shape: ModelShape, numTokens: number, format: KvFormat): number {
  const bytes = bytesPerTokenByGroup(shape, format);
  const read = groupsOf(shape).map((group, index) =>
    bytes[index]! * Math.min(numTokens, windowOf(group) ?? numTokens)
  );
  return 1 - sum(read) / (numTokens * bytesPerToken(shape, format));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
