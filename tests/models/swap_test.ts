import { assert, assertEquals } from "@std/assert";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { allocateMemory } from "../../src/runner/runner_memory.ts";
import { swapLayout } from "../../src/runner/swap_layout.ts";
import { SwapMemory } from "../../src/runner/swap_memory.ts";
import { gpuTest } from "../support/agreement.ts";
import { DemoEngine, demoInputs, goldenPrompts } from "../support/demo_engine.ts";

// `equivalence_test.ts` sends sequences with KV in codes there.
const PROMPTS = goldenPrompts();
const ARRIVALS = PROMPTS.map(({ prompt_ids }) => ({ prompt: prompt_ids }));
const EXPECTED = PROMPTS.map(({ greedy_ids }) => greedy_ids);
/** 58 blocks hold the longest sequence (849 + 64 tokens) and little else. */
const DRY: Partial<EngineConfig> = { numBlocksOverride: 58, swapMemoryBytes: 64 * 2 ** 20 };

async function idsOf(gpu: WebGpuDevice, config: Partial<EngineConfig>) {
  const engine = await DemoEngine.create(gpu, config);
  const outcomes = await engine.generate(ARRIVALS);
  return { tokens: outcomes.map(({ tokens }) => tokens), stats: engine.stats };
}

for (const enablePrefixCaching of [false, true]) {
  gpuTest(
    `greedy ids are the same when preempted sequences go to host memory, with the prefix cache ${
      enablePrefixCaching ? "on" : "off"
    }`,
    async (gpu) => {
      const { tokens, stats } = await idsOf(gpu, { ...DRY, enablePrefixCaching });
      assertEquals(tokens, EXPECTED);
      assert(stats.numSwappedInBlocks > 0, "nothing was copied back");
      // What another sequence held as well, and gave back too, has not been copied.
      const { numSwapsEvicted, numRecomputedTokens } = stats;
      assertEquals(numRecomputedTokens > 0, numSwapsEvicted > 0, `${numSwapsEvicted} dropped`);
      assert(enablePrefixCaching || numSwapsEvicted === 0);
      assertEquals(stats.numUsedSwapBlocks, 0);
    },
  );
}

gpuTest("a sequence whose blocks host memory has not kept is computed again", async (gpu) => {
  const inputs = await demoInputs(gpu, DRY);
  const memory = await allocateMemory(inputs);
  const layout = swapLayout(inputs.model, inputs.config)!;
  const warnings: string[] = [];
  const swap = await SwapMemory.create({
    ...{ device: gpu, storage: memory.storage, layout },
    warn: (words) => warnings.push(words),
  });
  const engine = await DemoEngine.create(gpu, DRY, { memory, swap });
  let numStored = 0;
  const outcomes = await engine.generate(ARRIVALS, undefined, ({ swapOuts = [] }) => {
    // Every other sequence that goes out loses a bit.
    if (swapOuts.length > 0 && numStored++ % 2 === 0) swap.bytesAt(swapOuts.at(-1)!)[0]! ^= 4;
    return Promise.resolve();
  });
  assertEquals(outcomes.map(({ tokens }) => tokens), EXPECTED);
  const { numSwapsCorrupt, numSwappedInBlocks, numRecomputedTokens } = engine.stats;
  assert(numSwapsCorrupt > 0 && numRecomputedTokens > 0, `${numSwapsCorrupt} were lost`);
  assertEquals(warnings.length, numSwapsCorrupt);
  assert(numSwappedInBlocks > 0);
});
