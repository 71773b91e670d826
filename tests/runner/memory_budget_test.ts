import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { parseModel } from "../../models/registry.ts";
import type { EngineConfig, KvCacheDtype } from "../../src/core/engine_config.ts";
import { StartupError } from "../../src/core/errors.ts";
import type { CacheSpec } from "../../src/core/cache_group.ts";
import { checkKvSettings, kvBudget as budgetOf } from "../../src/runner/memory_budget.ts";
import { configJson } from "../models/config_fixtures.ts";

const CONFIG: EngineConfig = {
  modelDir: "",
  device: "cpu",
  blockSize: 16,
  kvCacheDtype: "f16",
  enablePrefixCaching: true,
  maxNumSeqs: 4,
  maxNumBatchedTokens: 64,
  maxNumQueuedSeqs: 10,
};
/** 1,536 bytes per token, 24,576 per block of 16. */
const GEOMETRY = { numLayers: 6, numKvHeads: 2, headDim: 32 };

/** A model with layers of full attention, all alike. */
function modelOf({ numLayers, ...heads }: typeof GEOMETRY): { caches: CacheSpec[] } {
  return { caches: Array.from({ length: numLayers }, () => ({ kind: "full", ...heads })) };
}

/** The budget of such a model. */
function kvBudget(
  config: EngineConfig,
  geometry: typeof GEOMETRY,
  limits: Parameters<typeof budgetOf>[2],
) {
  return budgetOf(config, modelOf(geometry), limits);
}

const DEVICE = { modelMaxLen: 2048, maxBindingBytes: 2 ** 27 };

Deno.test("kvBudget holds 32 longest sequences unless told otherwise", () => {
  assertEquals(kvBudget(CONFIG, GEOMETRY, DEVICE), {
    numBlocks: 4096,
    maxNumBlocks: 2 ** 27 / 4096,
    maxModelLen: 2048,
    bytes: 4096 * 24576,
  });
  const huge = { ...GEOMETRY, numLayers: 80, numKvHeads: 8, headDim: 128 };
  const { bytes } = kvBudget(CONFIG, huge, DEVICE);
  assertEquals(bytes <= 2 ** 30 && bytes > 2 ** 30 - 80 * 2 ** 16, true);
});

Deno.test("kvBudget takes a number of blocks before bytes, and bytes before the default", () => {
  const kvCacheMemoryBytes = 10 * 24576 + 5;
  assertEquals(kvBudget({ ...CONFIG, kvCacheMemoryBytes }, GEOMETRY, DEVICE).numBlocks, 10);
  const both = { ...CONFIG, kvCacheMemoryBytes, numBlocksOverride: 7 };
  assertEquals(kvBudget(both, GEOMETRY, DEVICE), {
    numBlocks: 7,
    maxNumBlocks: 7,
    maxModelLen: 112,
    bytes: 7 * 24576,
  });
});

Deno.test("kvBudget lets the pool grow to half of the host's free memory where that is the device's", () => {
  const onHost = (hostFreeBytes: number, config: Partial<EngineConfig> = {}) => {
    const budget = kvBudget({ ...CONFIG, ...config }, GEOMETRY, { ...DEVICE, hostFreeBytes });
    return [budget.numBlocks, budget.maxNumBlocks];
  };
  assertEquals(onHost(2 * 5000 * 24576), [4096, 5000]);
  assertEquals(onHost(2 * 1000 * 24576), [1000, 1000]);
  assertEquals(onHost(1e12), [4096, 32_768], "what can be bound");
  assertEquals(onHost(2 * 5000 * 24576, { numBlocksOverride: 9000 }), [9000, 9000]);
});

Deno.test("kvBudget lets the pool grow to what the user allows, and start with what they ask for", () => {
  const sizes = (config: Partial<EngineConfig>, geometry = GEOMETRY) => {
    const { numBlocks, maxNumBlocks, maxModelLen } = kvBudget(
      { ...CONFIG, ...config },
      geometry,
      { ...DEVICE, maxBindingBytes: 2 ** 31, hostFreeBytes: 1e9 },
    );
    return [numBlocks, maxNumBlocks, maxModelLen];
  };
  assertEquals(sizes({ maxKvCacheMemoryBytes: 5000 * 24576 }), [4096, 5000, 2048]);
  assertEquals(sizes({ maxKvCacheMemoryBytes: 100 * 24576 }), [100, 100, 1600]);
  assertEquals(sizes({ kvCacheMemoryBytes: 300 * 24576 }), [300, 300, 2048]);
  // A pool of 1 GiB would not hold one sequence of 2,048 tokens; the limit does.
  const huge = { ...GEOMETRY, numLayers: 1024, numKvHeads: 16, headDim: 32 };
  const maxKvCacheMemoryBytes = 2 ** 35;
  assertEquals(sizes({ maxKvCacheMemoryBytes }, huge), [32, 1024, 512]);
  const asked = { maxKvCacheMemoryBytes, maxModelLen: 2048 };
  assertEquals(sizes(asked, huge), [128, 1024, 2048]);
});

Deno.test("kvBudget stays within what one binding can hold", () => {
  const config = { ...CONFIG, numBlocksOverride: 1e6 };
  const { numBlocks } = kvBudget(config, GEOMETRY, { ...DEVICE, maxBindingBytes: 4096 * 33 + 1 });
  assertEquals(numBlocks, 33);
});

Deno.test("kvBudget holds more blocks of smaller dtypes, bound by the largest layer's buffer", () => {
  const config = { ...CONFIG, kvCacheMemoryBytes: 1000 * 24576 };
  const blocks = (dtype: KvCacheDtype, maxBindingBytes = DEVICE.maxBindingBytes) =>
    kvBudget({ ...config, kvCacheDtype: dtype }, GEOMETRY, { ...DEVICE, maxBindingBytes })
      .numBlocks;
  // Heads of 32: 64 bytes in f16, 36 in int8 and fp8, 20 in int4, whose edges are two of six layers.
  assertEquals(blocks("int8"), Math.floor(1000 * 64 / 36));
  assertEquals(blocks("fp8"), Math.floor(1000 * 64 / 36));
  assertEquals(blocks("int4"), Math.floor(1000 * 64 * 6 / (4 * 20 + 2 * 64)));
  assertEquals(blocks("int4", 4096 * 33 + 1), 33);
});

Deno.test("kvBudget refuses a dtype whose words the model's heads do not fill", () => {
  for (const [dtype, headDim] of [["int4", 20], ["int8", 20], ["fp8", 12]] as const) {
    const error = assertThrows(
      () => kvBudget({ ...CONFIG, kvCacheDtype: dtype }, { ...GEOMETRY, headDim }, DEVICE),
      StartupError,
    );
    assertStringIncludes(error.message, `--kv-cache-dtype ${dtype}`);
    assertStringIncludes(error.message, `have ${headDim}`);
  }
});

Deno.test("checkKvSettings refuses a dtype whose words the rotated parts of heads do not fill", () => {
  const heads = { hidden_size: 320, num_attention_heads: 8, partial_rotary_factor: 0.5 };
  const model = parseModel(configJson({ model_type: "phi3", ...heads }));
  assertEquals(model.positionTables.rope!.rotaryDim, 20);
  for (const kvCacheDtype of ["f16", "f32"] as const) {
    checkKvSettings({ ...CONFIG, kvCacheDtype }, model, 512);
  }
  for (const kvCacheDtype of ["int8", "fp8", "int4"] as const) {
    assertThrows(
      () => checkKvSettings({ ...CONFIG, kvCacheDtype }, model, 512),
      StartupError,
      `--kv-cache-dtype ${kvCacheDtype} needs rotated parts of heads of a multiple of 8 elements`,
    );
  }
});

Deno.test("kvBudget refuses lengths that model or pool cannot hold, with what would fit", () => {
  const refuse = (config: Partial<EngineConfig>, part: string) =>
    assertThrows(() => kvBudget({ ...CONFIG, ...config }, GEOMETRY, DEVICE), StartupError, part);
  refuse({ maxModelLen: 4096 }, "2048 tokens");
  refuse({ maxModelLen: 100, numBlocksOverride: 6 }, "--max-model-len 96 or less");
  refuse({ kvCacheMemoryBytes: 1000 }, "24576 bytes");
});

Deno.test("kvBudget counts slabs of several groups, of which a window takes what it ever holds", () => {
  const heads = { numKvHeads: 2, headDim: 32 };
  const full: CacheSpec = { kind: "full", ...heads };
  const window: CacheSpec = { kind: "sliding_window", window: 64, ...heads };
  // Two buffers of 2 and 1 layers: slabs of two layers' blocks, of which full attention has two.
  const caches = [window, window, full, window, window, full];
  const slabBytes = 2 * 2 * 4096;
  const config = { ...CONFIG, maxNumBatchedTokens: 16, numBlocksOverride: 20 };
  const budget = budgetOf(config, { caches }, DEVICE);
  assertEquals([budget.numBlocks, budget.bytes], [20, 20 * slabBytes]);
  // The windows' 64 - 1 + 16 positions lie in 6 blocks, so 14 slabs are left: 28 blocks of 16.
  assertEquals(budget.maxModelLen, 28 * 16);
  const refuse = (numBlocksOverride: number, part: string) =>
    assertThrows(
      () => budgetOf({ ...config, numBlocksOverride, maxModelLen: 448 }, { caches }, DEVICE),
      StartupError,
      part,
    );
  refuse(
    19,
    `needs ${20 * slabBytes} bytes of KV, but the pool has ${19 * slabBytes} (416 tokens)`,
  );
  refuse(1, `no room for the 2 slabs of one token, each of ${slabBytes} bytes`);
  const bound = { ...DEVICE, maxBindingBytes: 15 * slabBytes / 2 + 1 };
  assertEquals(budgetOf(config, { caches }, bound).numBlocks, 15);
  const windows = { caches: caches.map(() => window) };
  assertEquals(budgetOf({ ...config, numBlocksOverride: 6 }, windows, DEVICE).maxModelLen, 2048);
});
