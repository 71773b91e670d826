import { assert, assertEquals } from "@std/assert";
import type { CacheSpec } from "../../src/core/cache_group.ts";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { kvMemory, layerKvs, poolGroups } from "../../src/runner/kv_memory.ts";
import { gpuTest } from "../support/agreement.ts";
import { type Arrival, DemoEngine, goldenPrompts, GREEDY_64 } from "../support/demo_engine.ts";

const HEADS = { numKvHeads: 2, headDim: 32 };
const FULL: CacheSpec = { kind: "full", ...HEADS };
const WINDOW: CacheSpec = { kind: "sliding_window", window: 40, ...HEADS };
const SINKS: CacheSpec = { kind: "sliding_window", window: 21, numSinkTokens: 4, ...HEADS };
const CHUNKS: CacheSpec = { kind: "chunked_local", window: 50, ...HEADS };

/** The bundled model's six layers with windows: three groups over a few buffers. */
const CACHES = [WINDOW, SINKS, WINDOW, FULL, WINDOW, CHUNKS];

/** Prompts longer than any window. */
const ARRIVALS: readonly Arrival[] = goldenPrompts()
  .filter(({ prompt_ids: { length } }) => length > 60 && length < 250)
  .slice(0, 4)
  .map(({ prompt_ids }, i) => ({
    prompt: prompt_ids,
    params: { ...GREEDY_64, maxTokens: 12 },
    atStep: i,
  }));

async function idsOf(device: Device, overrides: Partial<EngineConfig>): Promise<number[][]> {
  const config = { kvCacheDtype: "f32", numBlocksOverride: 120, maxModelLen: 300, ...overrides };
  const engine = await DemoEngine.create(device, config as EngineConfig, { caches: CACHES });
  const outcomes = await engine.generate(ARRIVALS);
  for (const { error } of outcomes) assertEquals(error, undefined);
  return outcomes.map(({ tokens }) => [...tokens]);
}

Deno.test("kvMemory() shares a few buffers among groups, and says nothing of groups where there is one", () => {
  const settings = { blockSize: 16, kvCacheDtype: "f16" } as const;
  const memory = kvMemory({ caches: CACHES }, settings);
  assertEquals(memory.groups.map(({ layers }) => layers), [[3], [0, 2, 4], [1], [5]]);
  assertEquals(poolGroups(memory).blocksPerSlab, memory.layout.blocksPerSlab);
  assertEquals(poolGroups(kvMemory({ caches: [FULL, FULL] }, settings)), {});
});

Deno.test("layerKvs() names for each layer its buffer, group and what its queries read", () => {
  const settings = { blockSize: 16, kvCacheDtype: "f16" } as const;
  const buffers = CACHES.map((_, i) => ({ label: `kv ${i}`, bytes: 16 }));
  const layers = layerKvs({ caches: [...CACHES, undefined] }, settings, buffers);
  const shapes = layers.map((layer) => layer?.shape);
  assertEquals(shapes.map((shape) => shape?.GROUP), [1, 2, 1, 0, 1, 3, undefined]);
  assertEquals(shapes.map((shape) => shape?.WINDOW), [40, 21, 40, 0, 40, 50, undefined]);
  assertEquals(shapes.map((shape) => shape?.NUM_SINKS), [0, 4, 0, 0, 0, 0, undefined]);
  assertEquals(shapes.map((shape) => shape?.IS_CHUNKED), [
    ...[false, false, false, false, false, true, undefined],
  ]);
  // No two layers of a group have one place, and every stride holds its rows.
  const places = layers.slice(0, 6).map((layer) =>
    `${layer!.shape.GROUP} ${layer!.buffer.label} ${layer!.shape.LAYER_OFFSET}`
  );
  assertEquals(new Set(places).size, 6);
});

gpuTest("a model with several cache groups draws what the definitions draw", async (device) => {
  const ids = await idsOf(device, {});
  assertEquals(ids, await idsOf(new ReferenceDevice(), {}));
  assert(new Set(ids.flat()).size > 4, "hardly anything was drawn");
});

gpuTest(
  "a model with several cache groups draws the same in any chunks, blocks and pools",
  async (device) => {
    const ids = await idsOf(device, {});
    const ways: Record<string, Partial<EngineConfig>> = {
      "chunks of 37": { maxNumBatchedTokens: 37 },
      "blocks of 8": { blockSize: 8, numBlocksOverride: 240 },
      "blocks of 32": { blockSize: 32, numBlocksOverride: 80 },
      "one at a time": { maxNumSeqs: 1 },
      "a prefix cache": { enablePrefixCaching: true },
      "a pool that runs dry": { numBlocksOverride: 40 },
    };
    for (const [way, overrides] of Object.entries(ways)) {
      assertEquals(await idsOf(device, overrides), ids, way);
    }
  },
);

gpuTest("a pool of several cache groups is resized under a model", async (device) => {
  const config = { kvCacheDtype: "f32", numBlocksOverride: 150, maxModelLen: 300 } as const;
  const engine = await DemoEngine.create(device, config, { caches: CACHES });
  // The first end early, so that the others lie high in the pool and move when it shrinks.
  const arrivals = ARRIVALS.map(({ prompt }, i) => ({
    prompt,
    params: { ...GREEDY_64, maxTokens: i < 2 ? 2 : 12 },
  }));
  let numMoved = 0;
  const outcomes = await engine.generate(arrivals, async (step) => {
    if (step % 4 !== 3) return;
    const numInUse = engine.stats.numBlocks - engine.stats.numFreeBlocks;
    const numBlocks = step % 8 === 3 ? Math.max(40, numInUse) : 150;
    numMoved += (await engine.resizeKv(numBlocks)).numMoved;
  });
  const whole = await idsOf(device, {});
  const expected = whole.map((ids, i) => i < 2 ? ids.slice(0, 2) : ids);
  assertEquals(outcomes.map(({ tokens }) => [...tokens]), expected);
  assert(numMoved > 0, "no block was moved");
});
