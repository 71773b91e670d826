import { assert, assertEquals } from "@std/assert";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { WebGpuDevice } from "../../src/device/webgpu_device.ts";
import { actingAs } from "../support/acting_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { DemoEngine, goldenPrompts, GREEDY_64 } from "../support/demo_engine.ts";

const PROMPTS = goldenPrompts();
const EXPECTED = PROMPTS.map(({ greedy_ids }) => greedy_ids);

/** The same answer in any batch: greedy ids of each golden prompt, all submitted at once under `config`. */
async function together(gpu: WebGpuDevice, config: Partial<EngineConfig>): Promise<DemoEngine> {
  const engine = await DemoEngine.create(gpu, config);
  const outcomes = await engine.generate(PROMPTS.map(({ prompt_ids }) => ({ prompt: prompt_ids })));
  assertEquals(outcomes.map(({ tokens }) => tokens), EXPECTED);
  return engine;
}

gpuTest("greedy ids are the same alone", async (gpu) => {
  const engine = await DemoEngine.create(gpu, { maxNumSeqs: 1 });
  for (const [i, { id, prompt_ids }] of PROMPTS.entries()) {
    const [outcome] = await engine.generate([{ prompt: prompt_ids }]);
    assertEquals(outcome!.tokens, EXPECTED[i]!, id);
    assertEquals(outcome!.finish, "length");
  }
});

gpuTest("greedy ids are the same in a batch of 16 that others join and leave", async (gpu) => {
  const engine = await DemoEngine.create(gpu, { maxNumSeqs: 16 });
  const arrivals = PROMPTS.map(({ prompt_ids }, i) => ({ prompt: prompt_ids, atStep: 3 * i }));
  const visitors = PROMPTS.map(({ prompt_ids }, i) => ({
    prompt: prompt_ids.slice(0, 1 + i),
    params: { ...GREEDY_64, maxTokens: 1 + 2 * i, temperature: i % 2, seed: i },
    atStep: 5 * i,
    ...(i % 3 === 0 ? { abortAfter: i } : {}),
  }));
  const outcomes = await engine.generate([...arrivals, ...visitors]);
  assertEquals(outcomes.slice(0, PROMPTS.length).map(({ tokens }) => tokens), EXPECTED);
  assert(outcomes.some(({ finish }) => finish === "abort"));
});

for (const maxNumBatchedTokens of [16, 37, 512]) {
  gpuTest(`greedy ids are the same with prefill chunks of ${maxNumBatchedTokens}`, async (gpu) => {
    await together(gpu, { maxNumBatchedTokens, maxNumSeqs: Math.min(16, maxNumBatchedTokens) });
  });
}

for (const blockSize of [8, 32]) {
  gpuTest(`greedy ids are the same with blocks of ${blockSize}`, async (gpu) => {
    await together(gpu, { blockSize, numBlocksOverride: 8192 / blockSize });
  });
}

gpuTest(
  "greedy ids are the same when the pool runs dry and sequences are preempted",
  async (gpu) => {
    // 58 blocks hold the longest sequence (849 + 64 tokens) and little else.
    const { stats } = await together(gpu, { numBlocksOverride: 58 });
    assert(stats.numPreemptions > 0, "nothing was preempted");
    assertEquals(stats.numFreeBlocks, 58);
  },
);

for (const kvCacheDtype of ["int8", "int4"] as const) {
  gpuTest(
    `greedy ids are the same alone, chunked, preempted and sent to host memory with KV in ${kvCacheDtype}`,
    async (gpu) => {
      const prompts = PROMPTS.map(({ prompt_ids }) => ({ prompt: prompt_ids }));
      const ids = async (config: Partial<EngineConfig>) => {
        const engine = await DemoEngine.create(gpu, { kvCacheDtype, ...config });
        const outcomes = await engine.generate(prompts);
        return { tokens: outcomes.map(({ tokens }) => tokens), stats: engine.stats };
      };
      const alone = await ids({ maxNumSeqs: 1 });
      const { tokens, stats } = await ids({ maxNumBatchedTokens: 37, numBlocksOverride: 58 });
      assert(stats.numPreemptions > 0, "nothing was preempted");
      assertEquals(tokens, alone.tokens);
      const swapped = await ids({ numBlocksOverride: 58, swapMemoryBytes: 64 * 2 ** 20 });
      assert(swapped.stats.numSwappedInBlocks > 0, "nothing was copied back");
      assertEquals(swapped.tokens, alone.tokens);
    },
  );
}

gpuTest("greedy ids are the same in the shapes tuned for GPUs", async (gpu) => {
  const engine = await DemoEngine.create(actingAs(gpu, { tier: "baseline" }), {
    maxNumBatchedTokens: 64,
  });
  const outcomes = await engine.generate(
    PROMPTS.slice(0, 4).map(({ prompt_ids }) => ({ prompt: prompt_ids })),
  );
  assertEquals(outcomes.map(({ tokens }) => tokens), EXPECTED.slice(0, 4));
});
