import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest } from "../support/agreement.ts";
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

gpuTest("golden greedy ids are the likeliest after the golden tokens before them", async (gpu) => {
  const scorer = await Scorer.create(gpu, { kvCacheDtype: "f32" });
  assertEquals(await goldenAgreement(scorer), 1);
  const [one, other] = [await scorer.score([1, 2, 3, 4]), await scorer.score([1, 2, 9, 4])];
  assertEquals(one.logprobs[0], other.logprobs[0]);
  assert(one.logprobs[2] !== other.logprobs[2], "the third token changes nothing after it");
});
