import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { bytesPerToken } from "../../src/plan/kv_dtypes.ts";
import { type CacheSpec, maxLiveBlocks } from "../../src/core/cache_group.ts";
import type { ModelShape } from "../../src/plan/model_shape.ts";
import { presetShape } from "../../src/server/model_shape.ts";
import {
  concurrency,
  longestSequence,
  plannedSequenceBytes,
  planPool,
  type PoolSettings,
  shareUnread,
} from "../../src/plan/sequence_size.ts";
import { runs } from "../support/runs.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const HEADS = { numKvHeads: 1, headDim: 64 };
const FULL: CacheSpec = { kind: "full", ...HEADS };
const POOL = { blockSize: 16, maxNumBatchedTokens: 512, dtype: "f16" } as const;

function sliding(window: number): CacheSpec {
  return { kind: "sliding_window", window, ...HEADS };
}

function times<T>(count: number, value: T): T[] {
  return Array.from({ length: count }, () => value);
}

function shapeOf(...caches: CacheSpec[]): ModelShape {
  return { name: "m", maxModelLen: 1_000_000, caches };
}

Deno.test("plannedSequenceBytes() gives the published sizes of Llama-2-7B in f16", () => {
  const llama = presetShape("llama-2-7b")!;
  const sizes = [512, 1024, 2048, 4096, 8192].map((len) =>
    plannedSequenceBytes(planPool(llama, POOL), len)
  );
  assertEquals(sizes, [256 * MIB, 512 * MIB, GIB, 2 * GIB, 4 * GIB]);
});

Deno.test("plannedSequenceBytes() gives the published sizes of Llama-3-70B in f16", () => {
  const llama = presetShape("llama-3-70b")!;
  assertEquals(bytesPerToken(llama, { dtype: "f16" }), 327_680);
  assertEquals(plannedSequenceBytes(planPool(llama, POOL), 8192), 2.5 * GIB);
  assertEquals(concurrency(planPool(llama, POOL), 80 * GIB, 8192), 32);
});

Deno.test("plannedSequenceBytes() saves 30.67 % of what four sequences have reserved", () => {
  const shape = shapeOf(FULL);
  const tokenBytes = bytesPerToken(shape, POOL);
  const held = [50, 180, 30, 120].map((len) =>
    plannedSequenceBytes(planPool(shape, POOL), len) / tokenBytes
  );
  const total = (lens: number[]) => lens.reduce((sum, len) => sum + len, 0);
  const saved = total([100, 200, 150, 150]) - total(held);
  assertEquals([saved, (100 * saved / 600).toFixed(2)], [184, "30.67"]);
});

Deno.test("R2: Qwen3-0.6B takes 112 KiB per token, so that 1 GiB holds 9,362 of them", () => {
  const qwen = presetShape("qwen3-0.6b")!;
  assertEquals(bytesPerToken(qwen, { dtype: "f16" }), 112 * 1024);
  assertEquals(Math.floor(GIB / bytesPerToken(qwen, { dtype: "f16" })), 9362);
  assertEquals(Math.floor(concurrency(planPool(qwen, POOL), GIB, 2048)), 4);
});

Deno.test("S151: a sequence has 1,024 blocks in full and 129 for a window of 1,024", () => {
  const grain = { blockSize: 16, maxInFlightTokens: 1024 };
  const full = maxLiveBlocks(FULL, 16_384, grain);
  const window = maxLiveBlocks(sliding(1024), 16_384, grain);
  assertEquals([full, window], [1024, 129]);
  assertEquals([1536 / full, 387 / window, 3459 / (full + window)], [1.5, 3, 3]);
});

Deno.test("S151: concurrency() is 1.5, 3 and 3 in full, windowed and hybrid pools", () => {
  const blockBytes = 16 * bytesPerToken(shapeOf(FULL), { dtype: "f16" });
  const running = (numBlocks: number, ...caches: CacheSpec[]) => {
    const pool = planPool(shapeOf(...caches), { ...POOL, maxNumBatchedTokens: 1024 });
    return concurrency(pool, numBlocks * blockBytes, 16_384);
  };
  assertEquals(running(1536, FULL), 1.5);
  assertEquals(running(387, sliding(1024)), 3);
  assertEquals(running(3459, FULL, sliding(1024)), 3);
});

Deno.test("S151: longestSequence() fits 16,384 tokens of 32 heads and layers into 8 GiB", () => {
  const llama = presetShape("llama-2-7b")!;
  const pool = planPool(llama, POOL);
  const tokenBytes = bytesPerToken(llama, { dtype: "f16" });
  assertEquals(longestSequence(pool, 8 * GIB, 16_385), 16_384);
  assertEquals(longestSequence(pool, 8 * GIB, 16_383), 16_383);
  assertEquals(longestSequence(pool, 32 * 16 * tokenBytes, 1024), 512);
  assertEquals(longestSequence(pool, 15 * tokenBytes, 9), 0);
});

Deno.test("R7: shareUnread() is 0.25 for Gemma-2's windows and 0.5625 for Ministral's", () => {
  const gemma = shapeOf(...times(21, FULL), ...times(21, sliding(4096)));
  assertEquals(shareUnread(gemma, 8192, { dtype: "f16" }), 0.25);
  const ministral = shapeOf(...times(9, FULL), ...times(27, sliding(32_768)));
  assertEquals(shareUnread(ministral, 131_072, { dtype: "int8" }), 0.5625);
  assertEquals(shareUnread(ministral, 32_768, { dtype: "f16" }), 0);
});

Deno.test("plannedSequenceBytes() adds up groups of every kind in whole slabs, a state once whatever the length", () => {
  const chunked: CacheSpec = { kind: "chunked_local", window: 64, ...HEADS };
  const blockBytes = 16 * bytesPerToken(shapeOf(FULL), POOL);
  // As large as two blocks.
  const state: CacheSpec = { kind: "state", stateBytes: 2 * blockBytes };
  const pool: PoolSettings = { ...POOL, maxNumBatchedTokens: 32 };
  const bytesOf = (numTokens: number, ...caches: CacheSpec[]) =>
    plannedSequenceBytes(planPool(shapeOf(...caches), pool), numTokens);
  const kinds: CacheSpec[] = [FULL, sliding(64), chunked];
  // A window of 64 before and with a step of 32: 95 positions from the last one of a block on, 7
  // blocks. A chunk begins at a block: at its last position a step writes up to 95 positions on.
  assertEquals(kinds.map((kind) => bytesOf(1000, kind) / blockBytes), [63, 7, 6]);
  assertEquals([1, 1000].map((numTokens) => bytesOf(numTokens, state) / blockBytes), [2, 2]);
  // Two layers of each over two buffers, whose slabs are two blocks or one state: 63 blocks are 32
  // slabs, 7 are 4 and 6 are 3.
  const all = [...kinds, state, state, ...kinds];
  assertEquals(bytesOf(1000, ...all), (32 + 4 + 3 + 1) * 2 * 2 * blockBytes);
});

Deno.test("longestSequence() fits, and one token more does not", () => {
  const pool = planPool(shapeOf(FULL, FULL, ...times(3, sliding(100))), POOL);
  const arbitrary = fc.integer({ min: 0, max: 3_000_000 });
  fc.assert(
    fc.property(arbitrary, (bytes) => {
      const limit = 2000;
      const longest = longestSequence(pool, bytes, limit);
      const fits = (len: number) => plannedSequenceBytes(pool, len) <= bytes;
      return (longest === 0 || fits(longest)) && (longest === limit || !fits(longest + 1));
    }),
    { seed: 12, numRuns: runs(300) },
  );
});
