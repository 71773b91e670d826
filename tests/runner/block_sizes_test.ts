import { assertEquals } from "@std/assert";
import type { StepDims } from "../../kernels/step.ts";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { KernelCall } from "../../src/device/kernel.ts";
import { compareBlockSizes, withBlockSize } from "../../src/runner/block_sizes.ts";
import { allocateMemory } from "../../src/runner/runner_memory.ts";
import { logLines } from "../support/log_lines.ts";
import { TimedDevice, timedInputs } from "../support/timed_device.ts";

async function compare(
  cost: (blockSize: number, dims: StepDims) => number,
  overrides: Partial<EngineConfig> = {},
  context = 2048,
) {
  const device = new TimedDevice({
    cost: ({ constants }: KernelCall<StepDims>, dims) => cost(Number(constants.BLOCK_SIZE), dims),
  });
  const inputs = timedInputs(device, overrides);
  const memory = await allocateMemory(inputs);
  const options = { inputs, memory, log: logLines().log, now: () => device.clock.now() };
  return { ...await compareBlockSizes(options, context), device };
}

Deno.test("compareBlockSizes() times attention by block size and names the fastest", async () => {
  const { micros, best, context, device } = await compare((size) => size === 32 ? 2 : 4);
  assertEquals([best, context], [32, 512]);
  assertEquals(Object.keys(micros), ["8", "16", "32"]);
  const kernels = new Set(device.runs.flat().map(({ kernelName }) => kernelName));
  assertEquals([...kernels].every((name) => name.startsWith("paged_attention_")), true);
});

Deno.test("compareBlockSizes() stays with the size in use unless another is clearly faster", async () => {
  assertEquals((await compare((size) => size === 8 ? 3.95 : 4)).best, 16);
  const { micros, best } = await compare((size) => size === 64 ? 4 : 5, { blockSize: 64 });
  assertEquals(Object.keys(micros), ["8", "16", "32", "64"]);
  assertEquals(best, 64);
});

Deno.test("compareBlockSizes() has the context that is asked for, and the pool's own memory", async () => {
  const { context, device } = await compare(() => 1, {}, 100);
  assertEquals(context, 100);
  const decodes = device.runs.flat().filter(({ constants }) => "BLOCK_SIZE" in constants);
  const kv = decodes.map(({ buffers }) => buffers[2]!);
  assertEquals(new Set(kv.map(({ label }) => label)).has("kv 0"), true);
  // 32 blocks of 16 tokens, however they are cut.
  for (const blockSize of [8, 32]) {
    const inputs = timedInputs(device);
    const { config, budget } = withBlockSize(inputs, blockSize);
    assertEquals([config.blockSize, config.blockSize * budget.numBlocks], [blockSize, 512]);
  }
  assertEquals(withBlockSize(timedInputs(device), 1024).budget.numBlocks, 0);
});
