/**
 * What is read of prompts: log-probabilities and vectors, against draws of the same engine,
 * position by position, and plain arithmetic over what the device holds. On both devices, in
 * chunks, batches, from the cache and after preemption.
 */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { PromptReadout } from "../../src/core/prompt_readout.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { cases } from "../support/runs.ts";
import { gpuTest } from "../support/agreement.ts";
import {
  type Arrival,
  DemoEngine,
  goldenPrompts,
  GREEDY_64,
  type Outcome,
} from "../support/demo_engine.ts";

const PROMPTS = goldenPrompts().map(({ prompt_ids }) => prompt_ids)
  .sort((a, b) => a.length - b.length).slice(2, 5);
const PROMPT = PROMPTS.at(-1)!;
const NUM_LOGPROBS = 3;
/** Forms of every kind, and of both together. */
const ALL: PromptReadout = { numLogprobs: NUM_LOGPROBS, nextTokens: [5, 700], pooling: "mean" };

const NOTHING = { ...GREEDY_64, maxTokens: 0 };

function readOf(prompt: readonly number[], readout: PromptReadout): Arrival {
  return { prompt, params: NOTHING, readout };
}

async function outcomesOf(
  device: Device,
  arrivals: readonly Arrival[],
  config: Partial<EngineConfig> = {},
): Promise<Outcome[]> {
  const engine = await DemoEngine.create(device, { isDeterministic: true, ...config });
  return await engine.generate(arrivals);
}

/**
 * Each score is the log-probability of a token that is drawn there, or of one reported beside it.
 */
async function checkScores(device: Device): Promise<void> {
  const prompt = PROMPT.slice(0, 24);
  const drawn = Array.from({ length: prompt.length }, (_, i) => ({
    prompt: prompt.slice(0, i + 1),
    params: { ...GREEDY_64, maxTokens: 1, numLogprobs: 20 },
  }));
  const [read, ...draws] = await outcomesOf(device, [readOf(prompt, ALL), ...drawn]);
  assertEquals([read!.tokens, read!.finish], [[], "length"]);
  const { scores, nextScores } = read!.prompt!;
  assertEquals(scores!.map(({ token }) => token), prompt.slice(1));
  assertEquals(nextScores!.map(({ token }) => token), [5, 700]);
  let numCompared = 0;
  [...scores!, ...nextScores!].forEach(({ token, logprob, topLogprobs }, i) => {
    const { topLogprobs: likeliest } = draws[Math.min(i, prompt.length - 1)]!.sampled[0]!;
    assertEquals(topLogprobs, likeliest!.slice(0, NUM_LOGPROBS));
    const same = likeliest!.find((one) => one.token === token);
    if (same === undefined) return assert(logprob <= likeliest!.at(-1)!.logprob);
    numCompared++;
    assertAlmostEquals(logprob, same.logprob, 1e-6);
  });
  assert(numCompared >= prompt.length / 4, `${numCompared} tokens were among the likeliest`);
}

/** The same numbers whatever happens around a prompt. */
async function checkBits(device: Device): Promise<void> {
  const readouts: PromptReadout[] = [ALL, { pooling: "last" }, { pooling: "cls" }, ALL];
  const arrivals = PROMPTS.flatMap((prompt, i) => [
    readOf(prompt, readouts[i % 4]!),
    { prompt: prompt.slice(0, -1), params: { ...GREEDY_64, maxTokens: 20 } },
  ]);
  const alone: Outcome[] = [];
  for (const arrival of arrivals) {
    alone.push(...await outcomesOf(device, [arrival], { maxNumBatchedTokens: 512 }));
  }
  assert(alone.every(({ prompt }, i) => (i % 2 === 0) === (prompt !== undefined)));
  const ways: Partial<EngineConfig>[] = [
    { blockSize: 4, numBlocksOverride: Math.ceil(PROMPT.length / 4) + 7, maxNumBatchedTokens: 16 },
    { enablePrefixCaching: true, blockSize: 4, maxNumBatchedTokens: 64 },
    { maxNumBatchedTokens: 37, maxNumSeqs: 5 },
  ];
  for (const config of device.kind === "cpu" ? cases(ways, 1) : ways) {
    const twice = [...arrivals, ...arrivals.map((one) => ({ ...one, atStep: 8 }))];
    const engine = await DemoEngine.create(device, { isDeterministic: true, ...config });
    const together = await engine.generate(twice);
    together.forEach((outcome, i) => assertEquals(outcome, alone[i % alone.length]));
    const { numHitTokens, numPreemptions } = engine.stats;
    assertEquals([numHitTokens > 0, numPreemptions > 0], [
      config.enablePrefixCaching === true,
      config.numBlocksOverride !== undefined,
    ]);
  }
}

/**
 * Vectors of the cut prompt by their definitions: the mean is that of the last ones of its
 * prefixes.
 */
async function checkVectors(device: Device): Promise<void> {
  const prompt = PROMPT.slice(0, 19);
  const vectorsOf = prompt.map((_, i) => readOf(prompt.slice(0, i + 1), { pooling: "last" }));
  const [mean, first, last, ...each] = await outcomesOf(device, [
    ...(["mean", "cls", "last"] as const).map((pooling) => readOf(prompt, { pooling })),
    ...vectorsOf,
  ], { maxNumBatchedTokens: 7 });
  const vectors = each.map((outcome) => outcome.prompt!.vector!);
  assertEquals(first!.prompt!.vector, vectors[0]);
  assertEquals(last!.prompt!.vector, vectors.at(-1));
  assert(vectors[0]!.length === 128 || vectors[0]!.length > 8);
  mean!.prompt!.vector!.forEach((value, e) => {
    const expected = vectors.reduce((sum, vector) => sum + vector[e]!, 0) / prompt.length;
    assertAlmostEquals(value, expected, 1e-5);
  });
}

const CHECKS = {
  "log-probabilities of a prompt are those of draws at each position": checkScores,
  "what is read of a prompt has the same bits alone, in batches, chunks and after preemption":
    checkBits,
  "a prompt's vector is the mean, the last or the first of its hidden states": checkVectors,
};
for (const [name, check] of Object.entries(CHECKS)) {
  gpuTest(`${name} on WebGPU`, check);
  Deno.test(`${name} on the reference device`, () => check(new ReferenceDevice()));
}
