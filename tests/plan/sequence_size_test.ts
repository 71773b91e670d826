import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import fc from "fast-check";
import { bytesPerToken } from "../../src/plan/kv_dtypes.ts";
import type { LayerGroup, ModelShape } from "../../src/plan/model_shape.ts";
import { findPreset } from "../../src/plan/presets.ts";
import {
  concurrency,
  groupBlocks,
  longestSequence,
  sequenceBytes,
  shareUnread,
} from "../../src/plan/sequence_size.ts";
import { runs } from "../support/runs.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const HEADS = { numKvHeads: 1, headDim: 64 };
const FULL: LayerGroup = { kind: "full", numLayers: 1, ...HEADS };
const POOL = { blockSize: 16, maxNumBatchedTokens: 512, dtype: "f16" } as const;

function sliding(numLayers: number, window: number): LayerGroup {
  return { kind: "sliding_window", numLayers, window, ...HEADS };
}

function shapeOf(...groups: LayerGroup[]): ModelShape {
  return { name: "m", maxModelLen: 1_000_000, groups };
}

Deno.test("sequenceBytes() gives the published sizes of Llama-2-7B in f16", () => {
  const llama = findPreset("llama-2-7b")!;
  const sizes = [512, 1024, 2048, 4096, 8192].map((len) => sequenceBytes(llama, len, POOL));
  assertEquals(sizes, [256 * MIB, 512 * MIB, GIB, 2 * GIB, 4 * GIB]);
});

Deno.test("sequenceBytes() gives the published sizes of Llama-3-70B in f16", () => {
  const llama = findPreset("llama-3-70b")!;
  assertEquals(bytesPerToken(llama, { dtype: "f16" }), 327_680);
  assertEquals(sequenceBytes(llama, 8192, POOL), 2.5 * GIB);
  assertEquals(concurrency(llama, 80 * GIB, { ...POOL, numTokens: 8192 }), 32);
});

Deno.test("groupBlocks() saves 30.67 % of what four sequences have reserved", () => {
  const held = [50, 180, 30, 120].map((len) => 16 * groupBlocks(FULL, len, POOL));
  const total = (lens: number[]) => lens.reduce((sum, len) => sum + len, 0);
  const saved = total([100, 200, 150, 150]) - total(held);
  assertEquals([saved, (100 * saved / 600).toFixed(2)], [184, "30.67"]);
});

Deno.test("R2: Qwen3-0.6B takes 112 KiB per token, so that 1 GiB holds 9,362 of them", () => {
  const qwen = findPreset("qwen3-0.6b")!;
  assertEquals(bytesPerToken(qwen, { dtype: "f16" }), 112 * 1024);
  assertEquals(Math.floor(GIB / bytesPerToken(qwen, { dtype: "f16" })), 9362);
  assertEquals(Math.floor(concurrency(qwen, GIB, { ...POOL, numTokens: 2048 })), 4);
});

Deno.test("S151: groupBlocks() counts 1,024 blocks in full and 129 for a window of 1,024", () => {
  const pool = { blockSize: 16, maxNumBatchedTokens: 1024 };
  for (const numLayers of [1, 32]) {
    const full = groupBlocks({ ...FULL, numLayers }, 16_384, pool);
    const window = groupBlocks(sliding(numLayers, 1024), 16_384, pool);
    assertEquals([full, window], [1024, 129]);
    assertEquals([1536 / full, 387 / window, 3459 / (full + window)], [1.5, 3, 3]);
  }
});

Deno.test("S151: concurrency() is 1.5, 3 and 3 in full, windowed and hybrid pools", () => {
  const pool = { ...POOL, maxNumBatchedTokens: 1024, numTokens: 16_384 };
  const blockBytes = 16 * bytesPerToken(shapeOf(FULL), { dtype: "f16" });
  assertEquals(concurrency(shapeOf(FULL), 1536 * blockBytes, pool), 1.5);
  assertEquals(concurrency(shapeOf(sliding(1, 1024)), 387 * blockBytes, pool), 3);
  assertEquals(concurrency(shapeOf(FULL, sliding(1, 1024)), 3459 * blockBytes, pool), 3);
});

Deno.test("S151: longestSequence() fits 16,384 tokens of 32 heads and layers into 8 GiB", () => {
  const llama = findPreset("llama-2-7b")!;
  assertEquals(longestSequence(llama, 8 * GIB, { ...POOL, limit: 16_385 }), 16_384);
  assertEquals(longestSequence(llama, 8 * GIB, { ...POOL, limit: 16_383 }), 16_383);
  const blocks32 = 32 * 16 * bytesPerToken(llama, { dtype: "f16" });
  assertEquals(longestSequence(llama, blocks32, { ...POOL, limit: 1024 }), 512);
  assertEquals(
    longestSequence(llama, 15 * bytesPerToken(llama, { dtype: "f16" }), { ...POOL, limit: 9 }),
    0,
  );
});

Deno.test("R7: shareUnread() is 0.25 for Gemma-2's windows and 0.5625 for Ministral's", () => {
  const gemma = shapeOf({ ...FULL, numLayers: 21 }, sliding(21, 4096));
  assertEquals(shareUnread(gemma, 8192, { dtype: "f16" }), 0.25);
  const ministral = shapeOf({ ...FULL, numLayers: 9 }, sliding(27, 32_768));
  assertEquals(shareUnread(ministral, 131_072, { dtype: "int8" }), 0.5625);
  assertEquals(shareUnread(ministral, 32_768, { dtype: "f16" }), 0);
});

Deno.test("groupBlocks() keeps the chunk that a chunked-local layer is in and the step's", () => {
  const chunked: LayerGroup = { kind: "chunked_local", numLayers: 1, window: 64, ...HEADS };
  const counts = [1, 64, 96, 97, 10_000].map((len) =>
    groupBlocks(chunked, len, { blockSize: 16, maxNumBatchedTokens: 32 })
  );
  assertEquals(counts, [1, 4, 6, 6, 6]);
});

Deno.test("groupBlocks() keeps a window's last positions, the step's and one block, no more", () => {
  const counts = [1, 2, 17].map((maxNumBatchedTokens) =>
    groupBlocks(sliding(1, 16), 1000, { blockSize: 16, maxNumBatchedTokens })
  );
  assertEquals(counts, [2, 3, 3]);
});

Deno.test("groupBlocks() covers what a window's chunks read, wherever they start", () => {
  const arbitrary = fc.record({
    window: fc.integer({ min: 1, max: 40 }),
    blockSize: fc.integer({ min: 1, max: 8 }),
    maxNumBatchedTokens: fc.integer({ min: 1, max: 20 }),
    len: fc.integer({ min: 1, max: 120 }),
  });
  fc.assert(
    fc.property(arbitrary, ({ window, len, ...pool }) => {
      const held = groupBlocks(sliding(1, window), len, pool);
      for (let end = 1; end <= len; end++) {
        const start = Math.max(0, end - pool.maxNumBatchedTokens - (window - 1));
        const needed = Math.ceil(end / pool.blockSize) - Math.floor(start / pool.blockSize);
        if (needed > held) return false;
      }
      return held <= groupBlocks(FULL, len, pool);
    }),
    { seed: 11, numRuns: runs(500) },
  );
});

Deno.test("longestSequence() fits, and one token more does not", () => {
  const shape = shapeOf({ ...FULL, numLayers: 2 }, sliding(3, 100));
  const arbitrary = fc.integer({ min: 0, max: 3_000_000 });
  fc.assert(
    fc.property(arbitrary, (bytes) => {
      const limit = 2000;
      const longest = longestSequence(shape, bytes, { ...POOL, limit });
      const fits = (len: number) => sequenceBytes(shape, len, POOL) <= bytes;
      return (longest === 0 || fits(longest)) && (longest === limit || !fits(longest + 1));
    }),
    { seed: 12, numRuns: runs(300) },
  );
});

Deno.test("concurrency() does not depend on how layers of one kind are grouped", () => {
  const apart = shapeOf(FULL, FULL, sliding(1, 64), sliding(1, 64));
  const together = shapeOf({ ...FULL, numLayers: 2 }, sliding(2, 64));
  const pool = { ...POOL, numTokens: 5000 };
  assert(concurrency(together, GIB, pool) > 0);
  assertAlmostEquals(concurrency(apart, GIB, pool), concurrency(together, GIB, pool));
});
