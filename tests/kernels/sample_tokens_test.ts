import { assert, assertEquals } from "@std/assert";
import { sampleTokensCall } from "../../kernels/sample_tokens.ts";
import { SOFTWARE_TUNING } from "../../kernels/tuning.ts";
import { MAX_LOGPROBS, SAMPLED, SAMPLED_WORDS, type StepDims } from "../../kernels/step.ts";
import type { SampleRequest } from "../../src/core/batch.ts";
import type { Device } from "../../src/device/device.ts";
import { bitsToF32 } from "../../src/device/half.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { StepPacker } from "../../src/runner/step_packer.ts";
import { gpuTest, noise, runBoth } from "../support/agreement.ts";

const GREEDY = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0, outputIndex: 0 };

function sampleStep(samples: readonly SampleRequest[]): { words: Uint32Array; dims: StepDims } {
  const limits = { maxBlocksPerSeq: 1, blockSize: 8, queryTile: 8 };
  const packer = new StepPacker({ ...limits, maxTokens: samples.length, maxSeqs: samples.length });
  return packer.pack({
    step: 0,
    numTokens: samples.length,
    chunks: samples.map((sample, i) => ({
      sequenceId: i,
      tokens: Uint32Array.of(1),
      start: 0,
      blockTable: [i],
      sample,
    })),
  });
}

/** Every combination of filters on rows of random logits, a few draws each. */
function requests(): SampleRequest[] {
  const all: SampleRequest[] = [];
  for (const temperature of [0, 0.3, 1, 1.7]) {
    for (const topK of [0, 1, 3, 40]) {
      for (const topP of [1, 0.9, 0.3, 1e-6]) {
        for (const minP of [0, 0.05]) {
          const outputIndex = all.length % 7;
          const base = {
            temperature,
            topK,
            topP,
            minP,
            seed: 2 ** 40 + 77 * all.length,
            outputIndex,
          };
          all.push(all.length % 3 === 0 ? { ...base, numLogprobs: all.length % 21 } : base);
        }
      }
    }
  }
  return all;
}

for (const [V, LANES] of [[7, 8], [2048, 8], [2048, 256], [300, 64]] as const) {
  gpuTest(`sample_tokens agrees with the definition: ${V} tokens, ${LANES} lanes`, async (gpu) => {
    const samples = requests();
    const { words, dims } = sampleStep(samples);
    const logits = noise(samples.length * V, 8, 6);
    const { actual, expected } = await runBoth(
      gpu,
      { step: words, logits, sampled: new Uint32Array(samples.length * SAMPLED_WORDS) },
      (b) => [sampleTokensCall({ V, LANES }, b as never)],
      dims,
      "sampled",
    );
    samples.forEach((sample, r) => {
      const at = r * SAMPLED_WORDS;
      const label = `row ${r} ${JSON.stringify(sample)}`;
      assertEquals(actual.u32[at], expected.u32[at], label);
      if (sample.numLogprobs === undefined) return;
      const near = (word: number) =>
        assert(
          Math.abs(bitsToF32(actual.u32[word]!) - bitsToF32(expected.u32[word]!)) < 2e-5,
          label,
        );
      near(at + SAMPLED.logprob);
      for (let i = 0; i < Math.min(sample.numLogprobs, V); i++) {
        assertEquals(actual.u32[at + SAMPLED.top + 2 * i], expected.u32[at + SAMPLED.top + 2 * i]);
        near(at + SAMPLED.top + 2 * i + 1);
      }
    });
  });
}

async function tokensOf(
  device: Device,
  samples: readonly SampleRequest[],
  logits: Float32Array,
): Promise<number[]> {
  const V = logits.length / samples.length;
  const { words, dims } = sampleStep(samples);
  const step = await device.createBuffer("step", words.byteLength);
  const rows = await device.createBuffer("logits", logits.byteLength);
  const sampled = await device.createBuffer("sampled", samples.length * SAMPLED_WORDS * 4);
  device.write(step, 0, words.slice());
  device.write(rows, 0, new Uint8Array(logits.buffer));
  const call = sampleTokensCall({ V, LANES: 8 }, { step, logits: rows, sampled });
  const program = await device.compile([call]);
  await device.run(program, dims, { buffer: sampled, bytes: 4 });
  const out = new Uint32Array((await device.read(sampled, 0, sampled.bytes)).buffer);
  return samples.map((_, r) => out[r * SAMPLED_WORDS]!);
}

async function checkDistribution(device: Device): Promise<void> {
  const probabilities = [0.5, 0.3, 0.15, 0.05];
  const count = 4000;
  const samples = Array.from({ length: count }, (_, seed) => ({ ...GREEDY, temperature: 1, seed }));
  const row = probabilities.map(Math.log);
  const logits = Float32Array.from({ length: count * 4 }, (_, i) => row[i % 4]!);
  const tokens = await tokensOf(device, samples, logits);
  probabilities.forEach((p, token) => {
    const seen = tokens.filter((drawn) => drawn === token).length / count;
    // Five standard deviations of a fair draw; the seeds are fixed, so this never flickers.
    const bound = 5 * Math.sqrt(p * (1 - p) / count);
    assert(Math.abs(seen - p) < bound, `token ${token}: ${seen} instead of ${p}`);
  });
}

gpuTest("sample_tokens draws by the model's probabilities", checkDistribution);
Deno.test("sample_tokens' definition draws by the model's probabilities", () =>
  checkDistribution(new ReferenceDevice()));

gpuTest("sample_tokens' draw depends on seed and output index, not on neighbours", async (gpu) => {
  const V = 512;
  const wanted = { ...GREEDY, temperature: 1, seed: 123, outputIndex: 5 };
  const row = noise(V, 3, 2);
  const others = (n: number) =>
    Array.from({ length: n }, (_, i) => ({ ...GREEDY, temperature: i % 3, seed: i, topK: i }));
  const draw = async (before: number, after: number) => {
    const samples = [...others(before), wanted, ...others(after)];
    const logits = noise(samples.length * V, before + 10 * after + 1);
    logits.set(row, before * V);
    return (await tokensOf(gpu, samples, logits))[before];
  };
  const alone = await draw(0, 0);
  for (const [before, after] of [[3, 0], [0, 9], [17, 4]]) {
    assertEquals(await draw(before!, after!), alone);
  }
  const byIndex = await Promise.all(
    [0, 1, 2, 3, 4, 6].map((outputIndex) =>
      tokensOf(gpu, [{ ...wanted, outputIndex }], row.slice())
    ),
  );
  assert(new Set(byIndex.flat()).size > 3, "the output index does not matter");
});

gpuTest("sample_tokens sees all of a large vocabulary on a software adapter", async (gpu) => {
  const V = 49_152;
  const samples = [{ ...GREEDY, temperature: 1, topK: 5, topP: 0.5, numLogprobs: MAX_LOGPROBS }];
  const { words, dims } = sampleStep(samples);
  const { actual, expected } = await runBoth(
    gpu,
    { step: words, logits: noise(V, 4, 6), sampled: new Uint32Array(SAMPLED_WORDS) },
    (b) => [sampleTokensCall({ V, LANES: SOFTWARE_TUNING.sampleLanes }, b as never)],
    dims,
    "sampled",
  );
  const ids = (
    { u32 }: typeof actual,
  ) => [
    u32[SAMPLED.token],
    ...Array.from({ length: MAX_LOGPROBS }, (_, i) => u32[SAMPLED.top + 2 * i]),
  ];
  assertEquals(ids(actual), ids(expected));
});

gpuTest("sample_tokens marks a row of NaN logits with no token", async (gpu) => {
  const [token] = await tokensOf(gpu, [GREEDY], new Float32Array(64).fill(NaN));
  assertEquals(token, 0xffffffff);
});

Deno.test("MAX_LOGPROBS pairs fit a sampled row", () => {
  assertEquals(SAMPLED.top + 2 * MAX_LOGPROBS, SAMPLED_WORDS);
});
