import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { EngineConfig, KvCacheDtype } from "../../src/core/engine_config.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { goldenPrompts } from "../support/demo_engine.ts";
import {
  goldenAgreement,
  perplexity,
  Scorer,
  storyPerplexity,
  type TokenScores,
} from "../support/perplexity.ts";

/** Of the eight stories in `tests/golden/demo_eval.json`, K and V in f32. */
const STORY_PERPLEXITY = 1.35632;

Deno.test("perplexity() is the inverse of the geometric mean probability", () => {
  const scores = (...probabilities: number[]): TokenScores => ({
    logprobs: Float64Array.from(probabilities, Math.log),
    best: new Uint32Array(probabilities.length),
  });
  assertAlmostEquals(perplexity([scores(0.5, 0.5), scores(0.125)]), 2 ** (5 / 3), 1e-12);
});

async function checkPlain(device: Device): Promise<void> {
  const scorer = await Scorer.create(device, { kvCacheDtype: "f32" });
  assertAlmostEquals(await storyPerplexity(scorer), STORY_PERPLEXITY, 1e-4);
}

gpuTest("the stories have the perplexity stated: WebGPU", checkPlain);
Deno.test("the stories have the perplexity stated: reference device", () =>
  checkPlain(new ReferenceDevice()));

/** Most that perplexity may grow, as a share, and least share of golden ids that must stay. */
const BOUNDS: [config: Partial<EngineConfig>, growth: number, agreement: number][] = [
  [{ kvCacheDtype: "f16" }, 0.0005, 1],
  [{ kvCacheDtype: "int8" }, 0.005, 0.99],
  [{ kvCacheDtype: "fp8" }, 0.005, 0.99],
  [{ kvCacheDtype: "int4" }, 0.003, 0.98],
  [{ kvCacheDtype: "int4", kvCacheF16EdgeLayers: false }, 0.004, 0.98],
];

for (const [config, growth, agreement] of BOUNDS) {
  gpuTest(`KV in ${Object.values(config).join(", ")} keeps the model's quality`, async (gpu) => {
    const scorer = await Scorer.create(gpu, config);
    const grown = await storyPerplexity(scorer) / STORY_PERPLEXITY - 1;
    assert(Math.abs(grown) < growth, `perplexity grew by ${grown}`);
    assert(config.kvCacheDtype === "f16" || Math.abs(grown) > 2e-6, "nothing was rounded");
    const share = await goldenAgreement(scorer);
    assert(share >= agreement, `${share} of the golden ids stayed`);
  });
}

/** Perplexity of the first golden prompt and its ids, by a forward pass apart from this project's. */
const FIRST_PERPLEXITY = { f32: 1.50761, int8: 1.50775, fp8: 1.50876, int4: 1.51188 } as const;

Deno.test("KV of each dtype gives the perplexity it should on the reference device", async () => {
  const { prompt_ids, greedy_ids } = goldenPrompts()[0]!;
  for (const [dtype, expected] of Object.entries(FIRST_PERPLEXITY)) {
    const scorer = await Scorer.create(new ReferenceDevice(), {
      kvCacheDtype: dtype as KvCacheDtype,
    });
    const score = await scorer.score([...prompt_ids, ...greedy_ids]);
    assertAlmostEquals(perplexity([score]), expected, 5e-5, dtype);
  }
});

gpuTest("golden greedy ids are the likeliest after the golden tokens before them", async (gpu) => {
  const scorer = await Scorer.create(gpu, { kvCacheDtype: "f32" });
  assertEquals(await goldenAgreement(scorer), 1);
  const [one, other] = [await scorer.score([1, 2, 3, 4]), await scorer.score([1, 2, 9, 4])];
  assertEquals(one.logprobs[0], other.logprobs[0]);
  assert(one.logprobs[2] !== other.logprobs[2], "the third token changes nothing after it");
  const { logprobs } = await scorer.score([1, 2, 3, 4], 3);
  assertAlmostEquals(logprobs[0]!, one.logprobs[2]!, 1e-4);
  assertEquals(logprobs.length, 1);
});
