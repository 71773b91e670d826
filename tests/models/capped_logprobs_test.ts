/** Log-probabilities are those of logits that a model caps (Gemma 2), as what is drawn is. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { DemoEngine, GREEDY_64 } from "../support/demo_engine.ts";
import { expectedLogits, familyGoldens, withFamily } from "../support/family_golden.ts";

const GOLDEN = familyGoldens().find(({ name }) => name === "gemma2")!;
const NUM_LOGPROBS = 5;

async function check(device: Device): Promise<void> {
  const logits = expectedLogits(GOLDEN).at(-1)!;
  const cap = GOLDEN.config["final_logit_softcapping"] as number;
  assert(logits.every((logit) => Math.abs(logit) < cap));
  const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
  const [outcome] = await withFamily(GOLDEN, async (modelDir) => {
    const engine = await DemoEngine.create(device, { modelDir, kvCacheDtype: "f32" });
    const params = { ...GREEDY_64, maxTokens: 1, numLogprobs: NUM_LOGPROBS };
    return await engine.generate([{ prompt: GOLDEN.prompt, params }]);
  });
  const { logprob: drawn, topLogprobs: likeliest } = outcome!.sampled[0]!;
  assertAlmostEquals(drawn!, logits[outcome!.tokens[0]!]! - total, 2e-3);
  assertEquals(likeliest!.length, NUM_LOGPROBS);
  for (const { token, logprob } of likeliest!) {
    assertAlmostEquals(logprob, logits[token]! - total, 2e-3);
  }
}

gpuTest("log-probabilities see a model's soft cap on WebGPU", check);

Deno.test("log-probabilities see a model's soft cap on the reference device", () =>
  check(new ReferenceDevice()));
