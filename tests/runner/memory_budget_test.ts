import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import type { EngineConfig, KvCacheDtype } from "../../src/core/engine_config.ts";
import { StartupError } from "../../src/core/errors.ts";
import { kvBudget } from "../../src/runner/memory_budget.ts";

const CONFIG: EngineConfig = {
  modelDir: "",
  device: "cpu",
  blockSize: 16,
  kvCacheDtype: "f16",
  enablePrefixCaching: true,
  maxNumSeqs: 4,
  maxNumBatchedTokens: 64,
  maxNumWaitingSeqs: 10,
};
/** 1,536 bytes per token, 24,576 per block of 16. */
const GEOMETRY = { numLayers: 6, numKvHeads: 2, headDim: 32, dtype: "f16" } as const;
const DEVICE = { modelMaxLen: 2048, maxBindingBytes: 2 ** 27 };

Deno.test("kvBudget holds 32 longest sequences unless told otherwise", () => {
  assertEquals(kvBudget(CONFIG, GEOMETRY, DEVICE), {
    numBlocks: 4096,
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
    maxModelLen: 112,
    bytes: 7 * 24576,
  });
});

Deno.test("kvBudget stays within what one binding can hold", () => {
  const config = { ...CONFIG, numBlocksOverride: 1e6 };
  const { numBlocks } = kvBudget(config, GEOMETRY, { ...DEVICE, maxBindingBytes: 4096 * 33 + 1 });
  assertEquals(numBlocks, 33);
});

Deno.test("kvBudget holds more blocks of smaller dtypes, bound by the largest layer's buffer", () => {
  const config = { ...CONFIG, kvCacheMemoryBytes: 1000 * 24576 };
  const blocks = (dtype: KvCacheDtype, maxBindingBytes = DEVICE.maxBindingBytes) =>
    kvBudget(config, { ...GEOMETRY, dtype }, { ...DEVICE, maxBindingBytes }).numBlocks;
  // Heads of 32: 64 bytes in f16, 36 in int8 and fp8, 20 in int4, whose edges are two of six layers.
  assertEquals(blocks("int8"), Math.floor(1000 * 64 / 36));
  assertEquals(blocks("fp8"), Math.floor(1000 * 64 / 36));
  assertEquals(blocks("int4"), Math.floor(1000 * 64 * 6 / (4 * 20 + 2 * 64)));
  assertEquals(blocks("int4", 4096 * 33 + 1), 33);
});

Deno.test("kvBudget refuses a dtype whose words the model's heads do not fill", () => {
  for (const [dtype, headDim] of [["int4", 24], ["int8", 20], ["fp8", 12]] as const) {
    const error = assertThrows(
      () => kvBudget(CONFIG, { ...GEOMETRY, dtype, headDim }, DEVICE),
      StartupError,
    );
    assertStringIncludes(error.message, `--kv-cache-dtype ${dtype}`);
    assertStringIncludes(error.message, `have ${headDim}`);
  }
});

Deno.test("kvBudget refuses lengths that model or pool cannot hold, with what would fit", () => {
  const refuse = (config: Partial<EngineConfig>, part: string) =>
    assertThrows(() => kvBudget({ ...CONFIG, ...config }, GEOMETRY, DEVICE), StartupError, part);
  refuse({ maxModelLen: 4096 }, "2048 tokens");
  refuse({ maxModelLen: 100, numBlocksOverride: 6 }, "--max-model-len 96 or less");
  refuse({ kvCacheMemoryBytes: 1000 }, "24576 bytes");
});
