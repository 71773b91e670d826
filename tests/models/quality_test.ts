import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { EngineConfig, KvCacheDtype } from "../../src/core/engine_config.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { goldenPrompts } from "../support/demo_engine.ts";
import {
  divergence,
  evaluationStories,
  goldenAgreement,
  logitsOfTexts,
  perplexity,
  perplexityOfLogits,
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

const STORIES = evaluationStories();

/** A scorer with K and V in f32, and its logits of the stories, once for all tests that ask. */
let exact: Promise<{ scorer: Scorer; logits: Float32Array[][] }> | undefined;

async function makeExact(gpu: Device) {
  const scorer = await Scorer.create(gpu, { kvCacheDtype: "f32" });
  return { scorer, logits: await logitsOfTexts(scorer, STORIES) };
}

gpuTest("the stories have the perplexity stated: WebGPU", async (gpu) => {
  const { logits } = await (exact ??= makeExact(gpu));
  assertAlmostEquals(perplexityOfLogits(STORIES, logits), STORY_PERPLEXITY, 1e-4);
});
Deno.test("the stories have the perplexity stated: reference device", async () => {
  const scorer = await Scorer.create(new ReferenceDevice(), { kvCacheDtype: "f32" });
  assertAlmostEquals(await storyPerplexity(scorer), STORY_PERPLEXITY, 1e-4);
});

/** What a KV dtype may cost. */
interface Bounds {
  /** Most that perplexity may grow, as a share. */
  readonly growth: number;
  /** Most that distributions may be away from those of f32, nats per token. */
  readonly divergence: number;
  /** Least share of golden ids that must stay. */
  readonly agreement: number;
}

/** In even steps of the largest magnitude int4 would be 0.0005 away, and 0.0009 in all layers. */
const BOUNDS: readonly (readonly [config: Partial<EngineConfig>, bounds: Bounds])[] = [
  [{ kvCacheDtype: "f16" }, { growth: 0.0005, divergence: 1e-6, agreement: 1 }],
  [{ kvCacheDtype: "int8" }, { growth: 0.0005, divergence: 1e-5, agreement: 0.99 }],
  [{ kvCacheDtype: "fp8" }, { growth: 0.002, divergence: 0.00015, agreement: 0.99 }],
  [{ kvCacheDtype: "int4" }, { growth: 0.003, divergence: 0.0003, agreement: 0.98 }],
  [
    { kvCacheDtype: "int4", kvCacheF16EdgeLayers: false },
    { growth: 0.004, divergence: 0.00045, agreement: 0.98 },
  ],
];

for (const [config, held] of BOUNDS) {
  gpuTest(`KV in ${Object.values(config).join(", ")} keeps the model's quality`, async (gpu) => {
    const plain = await (exact ??= makeExact(gpu));
    const scorer = await Scorer.create(gpu, config);
    const logits = await logitsOfTexts(scorer, STORIES);
    const grown = perplexityOfLogits(STORIES, logits) / STORY_PERPLEXITY - 1;
    assert(Math.abs(grown) < held.growth, `perplexity grew by ${grown}`);
    const apart = divergence(plain.logits.flat(), logits.flat());
    assert(apart < held.divergence, `${apart} nats per token from f32`);
    assert(apart > 1e-9, "nothing was rounded");
    const share = await goldenAgreement(scorer);
    assert(share >= held.agreement, `${share} of the golden ids stayed`);
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
  const { scorer } = await (exact ??= makeExact(gpu));
  assertEquals(await goldenAgreement(scorer), 1);
  const [one, other] = [await scorer.score([1, 2, 3, 4]), await scorer.score([1, 2, 9, 4])];
  assertEquals(one.logprobs[0], other.logprobs[0]);
  assert(one.logprobs[2] !== other.logprobs[2], "the third token changes nothing after it");
  const { logprobs } = await scorer.score([1, 2, 3, 4], 3);
  assertAlmostEquals(logprobs[0]!, one.logprobs[2]!, 1e-4);
  assertEquals(logprobs.length, 1);
});
