import { ceilDiv } from "../base/math.ts";
import { type KvFormat, numBlocksForTokens } from "../core/kv_layout.ts";
import { bytesPerToken, bytesPerTokenByGroup } from "./kv_dtypes.ts";
import type { LayerGroup, ModelShape } from "./model_shape.ts";

/** KV format, block size and step size of a pool. */
export interface PoolSettings extends KvFormat {
  /** Token positions per block. */
  readonly blockSize: number;
  /** Most tokens of one step: a window cannot move on before a chunk is computed whole. */
  readonly maxNumBatchedTokens: number;
}

/**
 * Blocks of one group that a sequence of `numTokens` holds at the most, from its first chunk on.
 *
 * Full attention keeps every position. A sliding window of W keeps the W - 1 positions before a
 * chunk and the chunk; one block more, since a window rarely starts where a block does.
 * Chunked-local attention keeps the chunk of W that it is in, which starts at a block, and the
 * step's chunk.
 */
export function groupBlocks(
  group: LayerGroup,
  numTokens: number,
  { blockSize, maxNumBatchedTokens }: Pick<PoolSettings, "blockSize" | "maxNumBatchedTokens">,
): number {
  const whole = numBlocksForTokens(numTokens, blockSize);
  if (group.window === undefined) return whole;
  const kept = group.kind === "sliding_window"
    ? ceilDiv(group.window - 1 + maxNumBatchedTokens, blockSize) + 1
    : ceilDiv(group.window + maxNumBatchedTokens, blockSize);
  return Math.min(whole, kept);
}

/** Bytes of the blocks that a sequence of `numTokens` holds, all groups together. */
export function sequenceBytes(
  shape: ModelShape,
  numTokens: number,
  settings: PoolSettings,
): number {
  const bytes = bytesPerTokenByGroup(shape, settings);
  return sum(
    shape.groups.map((group, index) =>
      groupBlocks(group, numTokens, settings) * settings.blockSize * bytes[index]!
    ),
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
  const read = shape.groups.map(({ window = numTokens }, index) =>
    bytes[index]! * Math.min(numTokens, window)
  );
  return 1 - sum(read) / (numTokens * bytesPerToken(shape, format));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
