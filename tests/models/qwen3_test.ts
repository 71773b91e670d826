import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { gpuTest } from "../support/agreement.ts";
import { DemoEngine, GREEDY_64 } from "../support/demo_engine.ts";
import { type HashedModel, writeHashedModel } from "../support/hashed_checkpoint.ts";

interface Golden extends HashedModel {
  readonly cases: readonly {
    readonly prompt: readonly number[];
    /** Greedy; the closest two candidates at any position are 0.009 apart. */
    readonly tokens: readonly number[];
    readonly logprobs: readonly number[];
  }[];
}

const FILE = new URL("../golden/qwen3_golden.json", import.meta.url);
const GOLDEN: Golden = JSON.parse(await Deno.readTextFile(FILE));

/** Answers of all cases, in steps of at most 16 tokens: the longest prompt comes in chunks. */
async function answers(device: Device) {
  const modelDir = await Deno.makeTempDir();
  try {
    await writeHashedModel(modelDir, GOLDEN);
    const engine = await DemoEngine.create(device, {
      modelDir,
      kvCacheDtype: "f32",
      blockSize: 8,
      maxNumBatchedTokens: 16,
      numBlocksOverride: 64,
    });
    return await engine.generate(GOLDEN.cases.map(({ prompt, tokens }) => ({
      prompt,
      params: { ...GREEDY_64, maxTokens: tokens.length, numLogprobs: 1 },
    })));
  } finally {
    await Deno.remove(modelDir, { recursive: true });
  }
}

async function checkGolden(device: Device): Promise<void> {
  const outcomes = await answers(device);
  outcomes.forEach(({ tokens, sampled }, i) => {
    const expected = GOLDEN.cases[i]!;
    assertEquals(tokens, expected.tokens, `case ${i}`);
    sampled.forEach(({ logprob }, at) => {
      const error = Math.abs(logprob! - expected.logprobs[at]!);
      assert(error < 5e-5, `case ${i}, token ${at}: log-probability off by ${error}`);
    });
  });
}

gpuTest("a Qwen3 gives the tokens of its formulas on WebGPU", checkGolden);
Deno.test("a Qwen3 gives the tokens of its formulas on the reference device", () =>
  checkGolden(new ReferenceDevice()));
