import { assert, assertEquals, assertThrows } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { KV_CACHE_DTYPES } from "../../src/core/engine_config.ts";
import { type CacheSpec, groupLayers } from "../../src/core/cache_group.ts";
import { groupMemory, planKvBuffers, slabBytesOf } from "../../src/core/kv_buffers.ts";
import { type DtypePlan, type KvPlan, planKv } from "../../src/plan/kv_plan.ts";
import type { ModelShape } from "../../src/plan/model_shape.ts";
import { presetShape } from "../../src/server/model_shape.ts";

const GIB = 2 ** 30;
const OPTIONS = { memoryBytes: 8 * GIB, blockSize: 16, maxNumBatchedTokens: 512, traffic: [] };
const LLAMA = presetShape("llama-2-7b")!;
const SLIDING: CacheSpec = {
  kind: "sliding_window",
  window: 1024,
  numKvHeads: 2,
  headDim: 64,
};
const FULL: CacheSpec = { kind: "full", numKvHeads: 4, headDim: 64 };
const HYBRID: ModelShape = {
  name: "hybrid",
  maxModelLen: 8192,
  caches: [
    ...[SLIDING, SLIDING],
    ...[FULL, FULL],
  ],
};

function rowOf(plan: KvPlan, dtype: string): DtypePlan {
  return plan.dtypes.find((row) => row.dtype === dtype)!;
}

Deno.test("planKv() sizes Llama-2-7B in 8 GiB by hand", () => {
  const row = rowOf(planKv(LLAMA, OPTIONS), "f16");
  assertEquals([row.bytesPerToken, row.bytesPerBlock], [524_288, 8 * 2 ** 20]);
  assertEquals([row.numBlocks, row.numTokens, row.longestLen], [1024, 16_384, 4096]);
  assertEquals(row.layerBufferBytes, GIB / 4);
  assertEquals(row.groups, [{ bytesPerTokenAndLayer: 16_384, bytesPerToken: 524_288 }]);
  assertEquals(row.lengths, [
    { len: 512, bytes: GIB / 4, numSequences: 32 },
    { len: 1024, bytes: GIB / 2, numSequences: 16 },
    { len: 2048, bytes: GIB, numSequences: 8 },
    { len: 4096, bytes: 2 * GIB, numSequences: 4 },
  ]);
});

Deno.test("planKv() counts as many blocks as the server makes of the same memory", () => {
  for (const memoryBytes of [1, 10_000_000, GIB - 1, GIB]) {
    const plan = planKv(LLAMA, { ...OPTIONS, memoryBytes });
    for (const dtype of KV_CACHE_DTYPES) {
      const sizes = { numLayers: 32, blockSize: 16 };
      const layout = planKvBuffers(groupMemory(groupLayers(LLAMA.caches), { dtype }, sizes));
      const { numBlocks, layerBufferBytes } = rowOf(plan, dtype);
      assertEquals(numBlocks, Math.floor(memoryBytes / slabBytesOf(layout)));
      assertEquals(layerBufferBytes, numBlocks * Math.max(...layout.slabBytes));
    }
  }
});

Deno.test("planKv() keeps the first and the last layer in f16 for int4, or where asked to", () => {
  const edges = (f16EdgeLayers?: boolean) =>
    planKv(LLAMA, { ...OPTIONS, ...(f16EdgeLayers === undefined ? {} : { f16EdgeLayers }) }).dtypes
      .map(({ dtype, hasF16EdgeLayers, bytesPerToken }) =>
        `${dtype}${hasF16EdgeLayers ? "*" : ""} ${bytesPerToken}`
      );
  // One layer: 32 heads, K and V, of 128 elements and a scale.
  const [f16, byte, half] = [2 * 32 * 256, 2 * 32 * 132, 2 * 32 * 68];
  assertEquals(edges(), [
    `f16 ${32 * f16}`,
    `f32 ${64 * f16}`,
    `int8 ${32 * byte}`,
    `fp8 ${32 * byte}`,
    `int4* ${30 * half + 2 * f16}`,
  ]);
  assertEquals(edges(true).slice(2), [
    `int8* ${30 * byte + 2 * f16}`,
    `fp8* ${30 * byte + 2 * f16}`,
    `int4* ${30 * half + 2 * f16}`,
  ]);
  assertEquals(edges(false).at(-1), `int4 ${32 * half}`);
});

Deno.test("planKv() fits more long sequences where windows let blocks go", () => {
  const plan = planKv(HYBRID, OPTIONS);
  const whole = planKv({
    ...HYBRID,
    caches: [SLIDING, SLIDING, FULL, FULL].map((cache) => ({
      ...FULL,
      ...("numKvHeads" in cache ? { numKvHeads: cache.numKvHeads } : {}),
    })),
  }, OPTIONS);
  const [windowed, full] = [rowOf(plan, "f16"), rowOf(whole, "f16")];
  assertEquals(windowed.bytesPerToken, 2 * (2 * 2 * 64 * 2) + 2 * (2 * 4 * 64 * 2));
  assertEquals([windowed.numBlocks, windowed.lengths[0]], [full.numBlocks, full.lengths[0]]);
  // In each of two buffers a slab is one full block or two of the window. Of 8,192 positions 512 full
  // blocks stay, and of the window 1,535 positions in 97 blocks: 49 slabs.
  assertEquals(windowed.lengths.at(-1)!.bytes, (512 + 49) * 2 * 16 * 1024);
  assert(windowed.lengths.at(-1)!.numSequences > full.lengths.at(-1)!.numSequences);
  assertEquals([plan.shareUnread.toFixed(4), whole.shareUnread], ["0.2917", 0]);
  // The pool is two buffers, each of a full layer and one with a window.
  assertEquals(windowed.layerBufferBytes, OPTIONS.memoryBytes / 2);
});

Deno.test("planKv() plans for the length asked for, and refuses one beyond the model's", () => {
  const plan = planKv(LLAMA, { ...OPTIONS, maxModelLen: 1000 });
  assertEquals(rowOf(plan, "f16").lengths.map(({ len }) => len), [512, 1000]);
  assertEquals(rowOf(plan, "f16").longestLen, 1000);
  const tiny = planKv(LLAMA, { ...OPTIONS, maxModelLen: 2 });
  assertEquals(rowOf(tiny, "f16").lengths.map(({ len }) => len), [2]);
  const error = assertThrows(() => planKv(LLAMA, { ...OPTIONS, maxModelLen: 4097 }), StartupError);
  assertEquals(
    error.message,
    "--max-model-len is 4097, but llama-2-7b was made for 4096 tokens",
  );
});

Deno.test("planKv() says how far the pool reaches where it holds less than one sequence", () => {
  const row = rowOf(planKv(LLAMA, { ...OPTIONS, memoryBytes: 100 * 8 * 2 ** 20 }), "f16");
  assertEquals([row.longestLen, row.lengths.at(-1)!.numSequences], [1600, 0]);
  const none = rowOf(planKv(LLAMA, { ...OPTIONS, memoryBytes: 1 }), "f16");
  assertEquals([none.numBlocks, none.longestLen], [0, 0]);
});

Deno.test("planKv() compares allocators on typical traffic, the same each time", () => {
  const { traffic: _, ...options } = OPTIONS;
  const plan = planKv(LLAMA, options);
  assertEquals(plan.traffic.map(({ name }) => name), ["sharegpt-like", "alpaca-like"]);
  assertEquals(planKv(LLAMA, options), plan);
});
