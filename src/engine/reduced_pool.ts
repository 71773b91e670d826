import type { EngineInfo } from "../core/engine_config.ts";
import { numLongestSequences } from "../core/pool_capacity.ts";

/** Share of its blocks that a pool keeps after the device has run out of memory. */
const KEPT_SHARE = 1 / 2;

/** A pool that becomes smaller, in blocks. */
export interface ReducedPool {
  readonly numBefore: number;
  readonly numAfter: number;
}

/**
 * How small the pool of an engine is to be that has run out of memory: half of what it was, but
 * never less than one sequence of the greatest length takes, so that every request still fits that
 * has been accepted.
 */
export function reducePool(info: EngineInfo): ReducedPool {
  const least = Math.ceil(info.numBlocks / numLongestSequences(info));
  const numAfter = Math.max(least, Math.floor(info.numBlocks * KEPT_SHARE));
  return { numBefore: info.numBlocks, numAfter: Math.min(info.numBlocks, numAfter) };
}

/** The same in a sentence for people. */
export function describeReducedPool({ numBefore, numAfter }: ReducedPool): string {
  const size = numAfter < numBefore
    ? `${numAfter} KV blocks in place of ${numBefore}`
    : `${numAfter} KV blocks, which one sequence of the greatest length takes`;
  return `Since the engine ran out of memory, it starts with at most ${size}`;
}
