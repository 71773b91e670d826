import { assert, assertEquals, assertNotEquals } from "@std/assert";
import type { SamplingParams } from "../../src/core/sampling_params.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { DemoEngine, goldenPrompts, GREEDY_64 } from "../support/demo_engine.ts";

const PROMPTS = goldenPrompts().slice(0, 6);
const LONG = goldenPrompts().find(({ prompt_ids }) => prompt_ids.length > 300)!;

/** Of everything that can be asked of logits, one kind after the other. */
const ASKED: readonly Partial<SamplingParams>[] = [
  { frequencyPenalty: 0.8 },
  { presencePenalty: 1.5, temperature: 0.8, seed: 4 },
  { repetitionPenalty: 1.4 },
  { repetitionPenalty: 1.2, presencePenalty: -0.5, temperature: 1, topP: 0.9, seed: 7 },
  { logitBias: [[200, 3], [300, -100]], frequencyPenalty: 0.3, numLogprobs: 2 },
  { allowedTokens: new Uint32Array(64).fill(0x0ff0f00f), topK: 20, temperature: 1, seed: 9 },
];

function arrivals(gap: number) {
  return PROMPTS.map(({ prompt_ids }, i) => ({
    prompt: prompt_ids,
    params: { ...GREEDY_64, maxTokens: 24, ...ASKED[i % ASKED.length] },
    atStep: gap * i,
  }));
}

async function alone(device: Device): Promise<number[][]> {
  const engine = await DemoEngine.create(device, { maxNumSeqs: 1 });
  const tokens: number[][] = [];
  for (const arrival of arrivals(0)) tokens.push((await engine.generate([arrival]))[0]!.tokens);
  return tokens;
}

gpuTest(
  "penalized answers are the same alone, in a batch, in chunks and preempted",
  async (gpu) => {
    const expected = await alone(gpu);
    const check = async (engine: DemoEngine, gap: number) => {
      const outcomes = await engine.generate(arrivals(gap));
      assertEquals(outcomes.map(({ tokens }) => tokens), expected);
    };
    await check(await DemoEngine.create(gpu), 0);
    await check(await DemoEngine.create(gpu, { maxNumBatchedTokens: 37 }), 3);
    const longest = Math.max(...PROMPTS.map(({ prompt_ids }) => prompt_ids.length)) + 24;
    const tight = await DemoEngine.create(gpu, { numBlocksOverride: Math.ceil(longest / 16) + 1 });
    await check(tight, 0);
    assert(tight.stats.numPreemptions > 0, "nothing was preempted");
  },
);

async function checkEffects(device: Device): Promise<void> {
  const engine = await DemoEngine.create(device);
  const { prompt_ids, greedy_ids } = PROMPTS[0]!;
  const ask = async (params: Partial<SamplingParams>) => {
    const all = { ...GREEDY_64, maxTokens: 12, ...params };
    return (await engine.generate([{ prompt: prompt_ids, params: all }]))[0]!;
  };
  assertEquals((await ask({})).tokens, greedy_ids.slice(0, 12));
  const forced = await ask({ logitBias: [[77, 100]], numLogprobs: 1 });
  assertEquals(forced.tokens, new Array(12).fill(77));
  // What is reported is the model's own distribution, in which the forced token is unlikely.
  assert(forced.sampled[0]!.logprob! < forced.sampled[0]!.topLogprobs![0]!.logprob - 1);
  assertEquals(forced.sampled[0]!.topLogprobs![0]!.token, greedy_ids[0]!);

  const allowedTokens = Uint32Array.of(0, 0b1000100);
  for (const temperature of [0, 1]) {
    const { tokens } = await ask({ allowedTokens, temperature });
    assert(tokens.every((token) => token === 34 || token === 38), String(tokens));
  }
  const never = await ask({ presencePenalty: 2, frequencyPenalty: 2, logitBias: [[77, 18]] });
  assert(new Set(never.tokens).size > 1, "penalties do not tell");
  const [first] = greedy_ids;
  const banned = await ask({ minTokens: 3, stopTokenIds: [first!] });
  assert(!banned.tokens.slice(0, 3).includes(first!), "a stop token was drawn too early");
  assertEquals((await ask({ stopTokenIds: [first!] })).tokens, [first]);
  assertNotEquals((await ask({ repetitionPenalty: 1.8 })).tokens, greedy_ids.slice(0, 12));
}

gpuTest("biases force, bitmasks restrict, penalties tell, stops wait: WebGPU", checkEffects);
Deno.test("biases force, bitmasks restrict, penalties tell, stops wait: reference device", () =>
  checkEffects(new ReferenceDevice()));

async function checkGrowth(device: Device): Promise<void> {
  const engine = await DemoEngine.create(device, { maxNumSeqs: 2 });
  const logitBias = Array.from({ length: 1024 }, (_, i) => [2 * i, 0] as const);
  const params = { ...GREEDY_64, maxTokens: 8, logitBias };
  const { prompt_ids, greedy_ids } = LONG;
  const [first, second] = await engine.generate([
    { prompt: prompt_ids, params: { ...params, logitBias: [] } },
    { prompt: prompt_ids, params, atStep: 4 },
    { prompt: prompt_ids, params, atStep: 5 },
  ]);
  assertEquals([first!.tokens, second!.tokens], [greedy_ids.slice(0, 8), greedy_ids.slice(0, 8)]);
}

gpuTest("ModelRunner.run() makes room for large adjustments: WebGPU", checkGrowth);
Deno.test("ModelRunner.run() makes room for large adjustments: reference device", () =>
  checkGrowth(new ReferenceDevice()));
