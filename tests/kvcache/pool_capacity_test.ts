import { assertEquals } from "@std/assert";
import { NO_BLOCK } from "../../src/core/cache_group.ts";
import { createPool } from "../../src/kvcache/pool/create_pool.ts";
import type { BlockNeed } from "../../src/kvcache/pool/pool.ts";
import { PoolCapacity } from "../../src/kvcache/pool_capacity.ts";
import { FULL, windowOf } from "../support/kv_groups.ts";

const BLOCKS_PER_SLAB = [4, 1];
/** Six blocks of full attention and the tail of a window. */
const HIT = {
  nodes: [0, 1, 2, 3, 4, 5],
  blocks: [[0, 4, 8, 12, 16, 20], [NO_BLOCK, NO_BLOCK, NO_BLOCK, NO_BLOCK, 24, 28]],
  numKnown: 6,
};
/** 32 positions in blocks of 4, none of which was left to the cache. */
const SWAPPED = { numTokens: 32, numSkipped: 0, blocks: [] };

/** A pool in which what is found lies in too many slabs: with any of it a slab is missing. */
function spreadPool(): { capacity: PoolCapacity; needs: BlockNeed[] } {
  const pool = createPool(8, BLOCKS_PER_SLAB);
  const needs: BlockNeed[] = [];
  const countMissing = (need: BlockNeed) => {
    needs.push(need);
    return (need.hits ?? []).length > 0 ? 1 : 0;
  };
  const blockSource = {
    countMissing,
    take: pool.take.bind(pool),
    retain: pool.retain.bind(pool),
    release: pool.release.bind(pool),
  };
  const grain = { blockSize: 4, maxInFlightTokens: 8 };
  const groups = [FULL, windowOf(8)];
  const shared = { pool, blockSource, groups, grain, blocksPerSlab: BLOCKS_PER_SLAB };
  return { capacity: new PoolCapacity({ ...shared, watermark: 0 }), needs };
}

Deno.test("PoolCapacity plans to hold what is found of full attention, and to copy the rest in", () => {
  const { capacity } = spreadPool();
  const plan = capacity.planSwapIn(SWAPPED, HIT, 33, { isFirst: false })!;
  assertEquals([plan.numSwappedInTokens, plan.numMissing], [32, 1]);
  assertEquals(plan.hits, HIT.blocks[0]);
  // Blocks 6 to 8 of full attention; of the window the two that position 32 reads, and its own.
  assertEquals(plan.demand, [3, 3]);
});

Deno.test("PoolCapacity plans to copy all in for a sequence that is alone, where what is found keeps too many slabs", () => {
  const { capacity, needs } = spreadPool();
  const plan = capacity.planSwapIn(SWAPPED, HIT, 33, { isFirst: true })!;
  assertEquals([plan.numSwappedInTokens, plan.numMissing, plan.hits], [32, 0, []]);
  assertEquals(plan.hit.nodes, []);
  assertEquals(plan.demand, [9, 3]);
  assertEquals(needs.length, 2);
});

Deno.test("PoolCapacity plans nothing from host memory where the cache has as much, or not what was left to it", () => {
  const { capacity } = spreadPool();
  const terms = { isFirst: true };
  assertEquals(capacity.planSwapIn({ ...SWAPPED, numTokens: 24 }, HIT, 33, terms), undefined);
  assertEquals(capacity.planSwapIn({ ...SWAPPED, numSkipped: 7 }, HIT, 33, terms), undefined);
  const kept = capacity.planSwapIn({ ...SWAPPED, numSkipped: 6 }, HIT, 33, { isFirst: false });
  assertEquals(kept?.numSwappedInTokens, 32);
});
