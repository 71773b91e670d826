import { assertEquals } from "@std/assert";
import type { CacheSpec } from "../../src/core/cache_group.ts";
import { numLongestSequences, numPoolTokens } from "../../src/core/pool_capacity.ts";

const POOL = { numBlocks: 100, blockSize: 16, maxModelLen: 400, maxNumBatchedTokens: 64 };
const HEADS = { numKvHeads: 1, headDim: 64 };

Deno.test("a pool of one group holds its blocks' positions", () => {
  assertEquals(numLongestSequences(POOL), 4);
  assertEquals(numPoolTokens(POOL), 1600);
});

Deno.test("a pool of several groups holds whole sequences, of which windows keep a part", () => {
  const groups: CacheSpec[] = [
    { kind: "full", ...HEADS },
    { kind: "sliding_window", window: 32, ...HEADS },
  ];
  // 400 positions take 25 full blocks, and 31 before a chunk of 64 at most 7: 13 and 4 slabs.
  const pool = { ...POOL, groups, blocksPerSlab: [2, 2] };
  assertEquals(numLongestSequences(pool), 100 / 17);
  assertEquals(numPoolTokens(pool), 2352);
});
