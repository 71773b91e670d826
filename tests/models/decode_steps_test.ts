import { assert, assertEquals } from "@std/assert";
import type { CacheSpec } from "../../src/core/cache_group.ts";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest } from "../support/agreement.ts";
import {
  type Arrival,
  DemoEngine,
  type DemoOptions,
  goldenPrompts,
  GREEDY_64,
} from "../support/demo_engine.ts";

const PROMPTS = goldenPrompts().slice(0, 4);

/**
 * Answers of several lengths that stop at tokens, draw by chance and report candidates; the last
 * comes while the others decode, the third is penalized, so that nobody takes several steps with
 * it.
 */
const ARRIVALS: Arrival[] = PROMPTS.map(({ prompt_ids, greedy_ids }, i) => ({
  prompt: prompt_ids,
  params: {
    ...GREEDY_64,
    maxTokens: 40 - 5 * i,
    ...(i === 0 ? { stopTokenIds: [greedy_ids[25]!] } : {}),
    ...(i === 1 ? { temperature: 0.8, topP: 0.9, seed: 7, numLogprobs: 3 } : {}),
    ...(i === 2 ? { frequencyPenalty: 0.5, maxTokens: 6 } : {}),
    ...(i === 3 ? { numLogprobs: 0 } : {}),
  },
  atStep: i === 3 ? 9 : 0,
}));

async function generate(
  device: Device,
  maxDecodeSteps: number,
  overrides: Partial<EngineConfig> = {},
  options: DemoOptions = {},
) {
  const config = { maxDecodeSteps, isDeterministic: true, ...overrides };
  const engine = await DemoEngine.create(device, config, options);
  const batches: number[] = [];
  const outcomes = await engine.generate(ARRIVALS, undefined, ({ chunks }) => {
    batches.push(Math.max(...chunks.map(({ numDecodeSteps = 1 }) => numDecodeSteps)));
    return Promise.resolve();
  });
  return { outcomes, batches, stats: engine.stats };
}

async function givesTheSame(device: Device): Promise<void> {
  const single = await generate(device, 1);
  assertEquals(single.stats.numFurtherDecodeSteps, 0);
  assertEquals(single.outcomes[0]!.finish, "stop");
  for (const maxDecodeSteps of [3, 8]) {
    const several = await generate(device, maxDecodeSteps);
    assertEquals(several.outcomes, single.outcomes, `${maxDecodeSteps} steps`);
    const { numFurtherDecodeSteps, numWastedTokens, numSteps } = several.stats;
    assertEquals(Math.max(...several.batches), maxDecodeSteps);
    assert(
      numFurtherDecodeSteps > numSteps / 2,
      `${numFurtherDecodeSteps} further, ${numSteps} plans`,
    );
    assert(numWastedTokens < maxDecodeSteps, `${numWastedTokens} wasted`);
  }
}

gpuTest(
  "the bundled model gives the same answers, to the bit, by single steps and by several per submission",
  givesTheSame,
);
Deno.test("so it does on the reference device", () => givesTheSame(new ReferenceDevice()));

gpuTest(
  "so it does with quantized KV, in small blocks with a prefix cache, and with windows",
  async (device) => {
    const heads = { numKvHeads: 2, headDim: 32 };
    const full: CacheSpec = { kind: "full", ...heads };
    const window: CacheSpec = { kind: "sliding_window", window: 20, numSinkTokens: 4, ...heads };
    const caches = [window, full, window, full, window, full];
    const cases: [Partial<EngineConfig>, DemoOptions][] = [
      [{ kvCacheDtype: "int8" }, {}],
      [{ enablePrefixCaching: true, blockSize: 8 }, {}],
      [{ kvCacheDtype: "f32" }, { caches }],
    ];
    for (const [overrides, options] of cases) {
      const single = await generate(device, 1, overrides, options);
      const several = await generate(device, 8, overrides, options);
      assertEquals(several.outcomes, single.outcomes);
      assert(several.stats.numFurtherDecodeSteps > 0);
    }
  },
);
