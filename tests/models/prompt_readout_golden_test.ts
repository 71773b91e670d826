/**
 * What is read of a prompt against PyTorch: scores are those of its logits, position by position, and
 * the product of the output projection with a prompt's vector is its last logits.
 */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { decodeToF32 } from "../../src/weights/dtypes.ts";
import { openSafetensors } from "../../src/weights/safetensors.ts";
import { gpuTest } from "../support/agreement.ts";
import { DemoEngine, GREEDY_64 } from "../support/demo_engine.ts";
import {
  expectedLogits,
  type FamilyGolden,
  familyGoldens,
  withFamily,
} from "../support/family_golden.ts";
import { readTensor } from "../support/read_tensor.ts";

const NUM_LOGPROBS = 3;
/** Twice what a logit may be off (`families_test.ts`): a score is the difference of two sums. */
const SCORE_ERROR = 4e-3;

/** The first tokens of the cases: past every window, and of several chunks. */
const GOLDENS = familyGoldens().filter(({ name }) => ["qwen3", "gemma2"].includes(name));
const PROMPT_LEN = 70;

function logSumExp(logits: Float32Array): number {
  const max = logits.reduce((a, b) => Math.max(a, b));
  return max + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0));
}

async function readOf(device: Device, modelDir: string, golden: FamilyGolden) {
  const prompt = golden.prompt.slice(0, PROMPT_LEN);
  const engine = await DemoEngine.create(device, {
    ...{ modelDir, kvCacheDtype: "f32" },
    // Chunks that end within the prompt, and more scores than a step has draws.
    ...{ maxNumBatchedTokens: 7, maxNumSeqs: 3 },
  });
  const params = { ...GREEDY_64, maxTokens: 0 };
  const readout = { numLogprobs: NUM_LOGPROBS, pooling: "last" } as const;
  return (await engine.generate([{ prompt, params, readout }]))[0]!.prompt!;
}

function checkScores(golden: FamilyGolden, scores: Awaited<ReturnType<typeof readOf>>["scores"]) {
  const logits = expectedLogits(golden);
  assertEquals(scores!.map(({ token }) => token), golden.prompt.slice(1, PROMPT_LEN));
  scores!.forEach(({ token, logprob, topLogprobs }, i) => {
    const row = logits[i]!;
    const total = logSumExp(row);
    assertAlmostEquals(logprob, row[token]! - total, SCORE_ERROR, `position ${i}`);
    const best = [...row].sort((a, b) => b - a).slice(0, NUM_LOGPROBS);
    topLogprobs.forEach((top, rank) => {
      assertAlmostEquals(top.logprob, row[top.token]! - total, SCORE_ERROR);
      assertAlmostEquals(top.logprob, best[rank]! - total, SCORE_ERROR);
    });
  });
}

/** Of a model that neither scales nor caps its logits. */
function checkVector(golden: FamilyGolden, modelDir: string, vector: Float32Array): void {
  const weights = openSafetensors(modelDir);
  const name = golden.config["tie_word_embeddings"] === true
    ? "model.embed_tokens.weight"
    : "lm_head.weight";
  const { dtype, numElements } = weights.tensor(name);
  const head = new Float32Array(numElements);
  decodeToF32(dtype, readTensor(weights, name), head);
  weights.close();
  const expected = expectedLogits(golden)[PROMPT_LEN - 1]!;
  const { length: E } = vector;
  assertEquals(numElements, E * expected.length);
  expected.forEach((logit, token) => {
    const row = head.subarray(token * E, (token + 1) * E);
    const product = row.reduce((sum, value, e) => sum + value * vector[e]!, 0);
    assertAlmostEquals(product, logit, 2e-3, `token ${token}`);
  });
}

async function check(device: Device): Promise<void> {
  assertEquals(GOLDENS.length, 2);
  for (const golden of GOLDENS) {
    assert(golden.prompt.length > PROMPT_LEN);
    await withFamily(golden, async (modelDir) => {
      const { scores, vector } = await readOf(device, modelDir, golden);
      checkScores(golden, scores);
      if (golden.name === "qwen3") checkVector(golden, modelDir, vector!);
    });
  }
}

gpuTest("prompts are read as PyTorch computes them on WebGPU", check);

Deno.test("prompts are read as PyTorch computes them on the reference device", () =>
  check(new ReferenceDevice()));
