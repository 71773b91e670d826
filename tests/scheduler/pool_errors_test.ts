import { assertEquals, assertStringIncludes } from "@std/assert";
import type { CacheSpec } from "../../src/core/cache_group.ts";
import {
  cacheInUse,
  describePool,
  poolExceeded,
  poolExceededByBeams,
  poolOutgrown,
} from "../../src/scheduler/pool_errors.ts";

const POOL = { numBlocks: 4, blockSize: 4 };

Deno.test("poolOutgrown() tells how much was needed and how much there is", () => {
  const error = poolOutgrown(17, POOL);
  assertEquals([error.status, error.code], [400, "kv_cache_exceeded"]);
  assertEquals(error.details, { n_tokens: 17, n_kv_cache_tokens: 16 });
  assertStringIncludes(error.message, "grown to 17 tokens");
});

Deno.test("poolExceeded() and poolOutgrown() tell what is pinned", () => {
  for (const refuse of [poolExceeded, poolOutgrown]) {
    const error = refuse(12, POOL, { numBlocks: 2, numTokens: 8 });
    assertEquals(error.details, { n_tokens: 12, n_kv_cache_tokens: 16, n_pinned_tokens: 8 });
    assertStringIncludes(error.message, "12 tokens, but the whole KV cache holds 16");
    assertStringIncludes(error.message, "2 of these blocks are pinned");
  }
});

Deno.test("poolExceeded() tells no number of tokens where a sequence may have any, or it is unknown", () => {
  const window: CacheSpec = { kind: "sliding_window", window: 8, numKvHeads: 1, headDim: 1 };
  for (const numPoolTokens of [{ numPoolTokens: Infinity }, {}]) {
    const error = poolExceeded(12, { ...POOL, ...numPoolTokens, cacheGroups: [window] });
    assertEquals(error.details, { n_tokens: 12 });
  }
});

Deno.test("cacheInUse() says how many sequences hold blocks", () => {
  const { data } = cacheInUse(3);
  assertEquals([data.status, data.details], [409, { n_sequences: 3 }]);
  assertStringIncludes(data.message, "3 running sequences");
});

Deno.test("poolExceededByBeams() tells what the beams need together, and what is pinned", () => {
  const beams = { numBeams: 2, numTokens: 12, numNeeded: 5 };
  const { message, details } = poolExceededByBeams(beams, POOL, { numBlocks: 3, numTokens: 12 });
  assertStringIncludes(message, "The 2 beams of the search have 12 tokens each");
  assertStringIncludes(message, "(4 blocks of 4), and 3 of these blocks are pinned");
  assertEquals(details, { n_beams: 2, n_blocks: 5, n_kv_cache_blocks: 4 });
});

Deno.test("describePool() tells what one sequence may have of slabs that cache groups share", () => {
  const heads = { numKvHeads: 1, headDim: 1 };
  const full: CacheSpec = { kind: "full", ...heads };
  const window: CacheSpec = { kind: "sliding_window", window: 8, ...heads };
  const pool = { numBlocks: 8, blockSize: 4 };
  const texts = [
    pool,
    { ...pool, numPoolTokens: 32, cacheGroups: [full] },
    { ...pool, numPoolTokens: 16, cacheGroups: [full, full] },
    { ...pool, numPoolTokens: 20, cacheGroups: [full, window] },
    // How many tokens a pool holds that has grown, nobody has counted.
    { ...pool, cacheGroups: [full, window] },
    { ...pool, numPoolTokens: Infinity, cacheGroups: [window] },
    { ...pool, cacheGroups: [window] },
  ].map(describePool);
  assertEquals(texts, [
    "the whole KV cache holds 32 (8 blocks of 4)",
    "the whole KV cache holds 32 (8 blocks of 4)",
    "the whole KV cache holds 16 (8 slabs in blocks of 4, shared by 2 cache groups)",
    "the whole KV cache holds 20 (8 slabs in blocks of 4, shared by 2 cache groups)",
    "the whole KV cache has 8 slabs in blocks of 4, shared by 2 cache groups",
    "the whole KV cache has 8 blocks of 4",
    "the whole KV cache has 8 blocks of 4",
  ]);
});

Deno.test("poolExceededByBeams() counts slabs where several cache groups share the pool", () => {
  const beams = { numBeams: 2, numTokens: 12, numNeeded: 9 };
  const full: CacheSpec = { kind: "full", numKvHeads: 1, headDim: 1 };
  const pool = { ...POOL, numPoolTokens: 8, cacheGroups: [full, full] };
  const { message } = poolExceededByBeams(beams, pool, { numBlocks: 3, numTokens: 12 });
  assertStringIncludes(
    message,
    "take 9 slabs together, but the whole KV cache holds 8 (4 slabs in",
  );
  assertStringIncludes(message, ", and 3 of these slabs are pinned");
});
