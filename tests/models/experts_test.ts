/**
 * Models with experts beside their formulas, which `families_test.ts` holds: the same answer in any
 * batch to the bit, f16 and quantized weights.
 */
import { assert, assertEquals } from "@std/assert";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import type { Device } from "../../src/device/device.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { actingAs } from "../support/acting_device.ts";
import { gpuTest, worstError } from "../support/agreement.ts";
import { DemoEngine, GREEDY_64 } from "../support/demo_engine.ts";
import {
  decodedLogits,
  expectedLogits,
  type FamilyGolden,
  familyGoldens,
  withFamily,
} from "../support/family_golden.ts";
import { assertSameBits, drawsOf, LogitRecorder } from "../support/logit_recorder.ts";
import { Scorer } from "../support/perplexity.ts";

const GOLDENS = familyGoldens().filter(({ config }) =>
  "num_experts" in config || "num_local_experts" in config
);
/** Experts beside windows, full layers and sinks. */
const GPT_OSS = GOLDENS.find(({ name }) => name === "gpt_oss")!;
/** As in `families_test.ts`. */
const LOGIT_ERROR = 2e-3;
const BASELINE = { tier: "baseline", hasSubgroups: false, subgroupMinSize: 0 } as const;

/** Four sequences of 9 to 61 tokens and 10 to 24 more; the last begins with all of the first, when that is over. */
function arrivalsOf({ prompt }: FamilyGolden) {
  return [[0, 50], [70, 79], [90, 99], [0, 61]].map(([begin, end], i) => ({
    prompt: prompt.slice(begin, end),
    params: { ...GREEDY_64, seed: 1 + i, maxTokens: i < 2 ? 10 : 24 },
    atStep: i === 3 ? 40 : i,
  }));
}

async function logitsOf(
  device: Device,
  golden: FamilyGolden,
  modelDir: string,
  config: Partial<EngineConfig>,
) {
  const recorder = new LogitRecorder(device, golden.config["vocab_size"] as number);
  const own = { modelDir, isDeterministic: true, kvCacheDtype: "f32", ...config } as const;
  const engine = await DemoEngine.create(recorder.device, own);
  const later = config.numBlocksOverride === TIGHT ? 0 : 1;
  const arrivals = arrivalsOf(golden).map((each) => ({ ...each, atStep: later * each.atStep }));
  await engine.generate(arrivals, undefined, (batch) => recorder.record(batch));
  const seeds = new Set(arrivals.map(({ params }) => params.seed));
  return { draws: drawsOf(recorder.draws, seeds), stats: engine.stats };
}

/** Blocks for some of the sequences, which all come at once. */
const TIGHT = 21;
const IN_EIGHTS = { blockSize: 8, numBlocksOverride: 128 };

/** The ways to run the sequences beside one after the other, and what each must have come to. */
const WAYS: Readonly<
  Record<string, {
    readonly config: Partial<EngineConfig>;
    readonly check?: (stats: DemoEngine["stats"]) => boolean;
  }>
> = {
  "in a batch": { config: { maxNumSeqs: 16, maxNumBatchedTokens: 256 } },
  "in chunks of 7 and blocks of 8, found in the prefix cache": {
    config: { ...IN_EIGHTS, maxNumSeqs: 7, maxNumBatchedTokens: 7, enablePrefixCaching: true },
    check: ({ numHitTokens }) => numHitTokens > 0,
  },
  "preempted": {
    config: { ...IN_EIGHTS, maxNumSeqs: 16, maxNumBatchedTokens: 16, numBlocksOverride: TIGHT },
    check: ({ numPreemptions }) => numPreemptions > 0,
  },
};

async function checkBits(device: Device): Promise<void> {
  await withFamily(GPT_OSS, async (modelDir) => {
    const alone = { maxNumSeqs: 1, maxNumBatchedTokens: 256, enablePrefixCaching: false };
    const expected = await logitsOf(device, GPT_OSS, modelDir, alone);
    for (const [name, { config, check = () => true }] of Object.entries(WAYS)) {
      const own = { enablePrefixCaching: false, ...config };
      const { draws, stats } = await logitsOf(device, GPT_OSS, modelDir, own);
      assert(check(stats), `${name}: ${JSON.stringify(stats)}`);
      assertSameBits(draws, expected.draws);
    }
  });
}

Deno.test("the same answer in any batch, to the bit, with experts, on the reference device", () =>
  checkBits(new ReferenceDevice()));
gpuTest("the same answer in any batch, to the bit, with experts, on a software adapter", checkBits);
gpuTest(
  "the same answer in any batch, to the bit, with experts, on a GPU's kernels",
  (gpu) => checkBits(actingAs(gpu, BASELINE)),
);

for (const golden of GOLDENS) {
  gpuTest(
    `${golden.name}: with f16 KV the greedy tokens are its formulas'`,
    (gpu) =>
      withFamily(golden, async (modelDir) => {
        const engine = await DemoEngine.create(gpu, { modelDir, kvCacheDtype: "f16" });
        const { prompt, tokens } = golden;
        const params = { ...GREEDY_64, maxTokens: tokens.length };
        const [outcome] = await engine.generate([{ prompt, params }]);
        assertEquals(outcome!.tokens, tokens);
      }),
  );
}

/** Decodes in a batch of 32, of which each takes experts of its own. */
async function checkLogits(device: Device, golden: FamilyGolden): Promise<void> {
  const actual = await withFamily(
    golden,
    (modelDir) => decodedLogits(device, modelDir, short(golden)),
  );
  assert(worst(actual, expectedLogits(golden)) < LOGIT_ERROR);
}

gpuTest(
  "gpt_oss: its formulas' logits on a GPU's kernels",
  (gpu) => checkLogits(actingAs(gpu, BASELINE), GPT_OSS),
);
gpuTest("qwen3_moe: its formulas' logits on a GPU's kernels with subgroups", async (gpu) => {
  if (!gpu.capabilities.hasSubgroups) {
    // deno-lint-ignore no-console -- a skip must say why
    return console.warn("skipped: the adapter grants no subgroups");
  }
  await checkLogits(actingAs(gpu, { tier: "subgroups" }), GOLDENS[0]!);
});

/** The first tokens of a golden prompt. */
const short = (golden: FamilyGolden): FamilyGolden => ({
  ...golden,
  prompt: golden.prompt.slice(0, 24),
});

/** The largest difference of any two logits. */
function worst(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  return Math.max(...a.map((row, i) => worstError(row, b[i]!)));
}

gpuTest(
  "experts in int4: both devices agree, and the router's choice stays",
  (gpu) =>
    withFamily(GPT_OSS, async (modelDir) => {
      const quantization = { method: "int4", groupSize: 32 } as const;
      const config = { modelDir, kvCacheDtype: "f32", quantization } as const;
      const { prompt } = short(GPT_OSS);
      const logitsOn = async (device: Device) =>
        await (await Scorer.create(device, config)).logits(prompt);
      const expected = await logitsOn(new ReferenceDevice());
      assert(worst(await logitsOn(gpu), expected) < LOGIT_ERROR);
      const loss = worst(expectedLogits(GPT_OSS).slice(0, prompt.length), expected);
      assert(loss > LOGIT_ERROR && loss < 4, `a logit is off by ${loss}`);
    }),
);
