import { maxLiveBlocks } from "./cache_group.ts";
import type { EngineInfo } from "./engine_config.ts";
import { numSlabsFor } from "./kv_buffers.ts";

/** What decides how much a pool holds. */
export type PoolInfo = Pick<
  EngineInfo,
  "numBlocks" | "blockSize" | "maxModelLen" | "maxNumBatchedTokens" | "groups" | "blocksPerSlab"
>;

/** Sequences of the greatest length that the pool holds at once, the last one perhaps in part. */
export function numLongestSequences(info: PoolInfo): number {
  const { groups, blocksPerSlab, numBlocks, blockSize, maxModelLen } = info;
  if (groups === undefined || blocksPerSlab === undefined) {
    return numBlocks * blockSize / maxModelLen;
  }
  const grain = { blockSize, maxInFlightTokens: info.maxNumBatchedTokens };
  const blocks = groups.map((spec) => maxLiveBlocks(spec, maxModelLen, grain));
  return numBlocks / numSlabsFor({ blocksPerSlab }, blocks);
}

/** Tokens that the pool holds of sequences of the greatest length. */
export function numPoolTokens(info: PoolInfo): number {
  return Math.floor(numLongestSequences(info) * info.maxModelLen);
}
