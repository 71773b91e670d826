import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { samplingCalls, segmentsWords } from "../../kernels/sampling/sampling.ts";
import { MAX_LOGPROBS } from "../../src/core/sampling_params.ts";
import { NO_TOKEN } from "../../kernels/sampling/segments.ts";
import {
  DRAW,
  DRAW_WORDS,
  SAMPLED,
  SAMPLED_WORDS,
  STEP,
  type StepDims,
} from "../../kernels/step.ts";
import type { DrawRequest } from "../../src/core/batch.ts";
import type { Device } from "../../src/device/device.ts";
import type { DeviceBuffer } from "../../src/device/kernel.ts";
import { bitsToF32 } from "../../src/base/float_bits.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { StepPacker } from "../../src/runner/step_packer.ts";
import { gpuTest, noise, runBoth } from "../support/agreement.ts";

/** One phase and two, few lanes and many. */
const TUNINGS = {
  "one phase, 8 lanes": { sampleLanes: 8, segmentLanes: 8, fusedVocabSize: Infinity },
  "two phases, 8 lanes": { sampleLanes: 8, segmentLanes: 8, fusedVocabSize: 0 },
  "two phases, 256 lanes": { sampleLanes: 256, segmentLanes: 64, fusedVocabSize: 0 },
} as const;
type SamplingTuning = (typeof TUNINGS)[keyof typeof TUNINGS];
const FEW_LANES = TUNINGS["two phases, 8 lanes"];

const GREEDY = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0, outputIndex: 0 };

function sampleStep(samples: readonly DrawRequest[]): { words: Uint32Array; dims: StepDims } {
  const limits = { maxBlocksPerSeq: 1, blockSize: 8, queryTile: 8, splitLen: 8 };
  const { length } = samples;
  const packer = new StepPacker({
    ...limits,
    ...{ maxTokens: length, maxSeqs: length, maxSplits: length },
  });
  return packer.pack({
    step: 0,
    numTokens: samples.length,
    chunks: samples.map((draw, i) => ({
      sequenceId: i,
      tokens: Uint32Array.of(1),
      start: 0,
      blockTables: [[i]],
      draw,
    })),
  });
}

/** Every combination of filters on rows of random logits, a few draws each. */
function requests(): DrawRequest[] {
  const all: DrawRequest[] = [];
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

/** Draws all samples on both devices and compares what came out; returns the tokens. */
async function checkAgreement(
  gpu: Device,
  samples: readonly DrawRequest[],
  logits: Float32Array,
  tuning: SamplingTuning,
): Promise<number[]> {
  const V = logits.length / samples.length;
  const { words, dims } = sampleStep(samples);
  const { actual, expected } = await runBoth(
    gpu,
    {
      step: words,
      logits,
      segments: new Uint32Array(samples.length * segmentsWords(V, tuning)),
      sampled: new Uint32Array(samples.length * SAMPLED_WORDS),
    },
    (b) => samplingCalls(V, b as never, tuning),
    dims,
    "sampled",
  );
  return samples.map((sample, r) => {
    const at = r * SAMPLED_WORDS;
    const label = `row ${r} ${JSON.stringify(sample)}`;
    assertEquals(actual.u32[at], expected.u32[at], label);
    const near = (word: number) =>
      assert(
        Math.abs(bitsToF32(actual.u32[word]!) - bitsToF32(expected.u32[word]!)) < 2e-5,
        label,
      );
    if (sample.numLogprobs !== undefined) near(at + SAMPLED.logprob);
    for (let i = 0; i < Math.min(sample.numLogprobs ?? 0, V); i++) {
      assertEquals(actual.u32[at + SAMPLED.top + 2 * i], expected.u32[at + SAMPLED.top + 2 * i]);
      near(at + SAMPLED.top + 2 * i + 1);
    }
    return expected.u32[at]!;
  });
}

for (const [name, tuning] of Object.entries(TUNINGS)) {
  for (const V of [7, 300, 2048]) {
    gpuTest(`sample_tokens agrees with the definition: ${V} tokens, ${name}`, async (gpu) => {
      const samples = requests();
      await checkAgreement(gpu, samples, noise(samples.length * V, 8, 6), tuning);
    });
  }

  gpuTest(`sample_tokens keeps all ties at a border: ${name}`, async (gpu) => {
    const V = 500;
    const filters = [{ topK: 3 }, { topK: 90 }, { topP: 0.3 }, { topP: 1e-6 }, { minP: 1 }];
    const samples = Array.from({ length: 60 }, (_, seed) => ({
      ...GREEDY,
      temperature: 1,
      seed,
      ...filters[seed % filters.length],
    }));
    const logits = noise(60 * V, 3, 2).map(Math.round);
    const tokens = await checkAgreement(gpu, samples, logits, tuning);
    // The likeliest fifth are equals: a draw that dropped ties would hit a few of them only.
    const drawn = tokens.filter((_, r) => samples[r]!.topK === 3);
    assert(new Set(drawn).size > 6, String(drawn));
    const same = new Float32Array(60 * V).fill(-1.5);
    await checkAgreement(gpu, samples, same, tuning);
  });
}

/** A forced token has the log-probability of its logit, whatever the draw would have been. */
async function checkForced(gpu: Device, tuning: SamplingTuning): Promise<void> {
  const V = 300;
  const forced = [0, 7, 150, 299];
  const samples = forced.map((_, i) => ({ ...GREEDY, temperature: i % 2, numLogprobs: i }));
  const { words, dims } = sampleStep(samples);
  const step = words.slice();
  forced.forEach((token, i) => {
    step[step[STEP.draws]! + i * DRAW_WORDS + DRAW.forced] = token + 1;
  });
  const logits = noise(forced.length * V, 4, 6);
  // The last row has overflowed: nothing is known of it.
  logits[3 * V + 5] = Infinity;
  const contents = {
    step,
    logits,
    segments: new Uint32Array(forced.length * segmentsWords(V, tuning)),
    sampled: new Uint32Array(forced.length * SAMPLED_WORDS),
  };
  const calls = (b: Record<string, DeviceBuffer>) => samplingCalls(V, b as never, tuning);
  const { actual, expected } = await runBoth(gpu, contents, calls, dims, "sampled");
  for (const { u32 } of [actual, expected]) {
    const tokens = forced.map((_, i) => u32[i * SAMPLED_WORDS + SAMPLED.token]!);
    assertEquals(tokens, [...forced.slice(0, 3), NO_TOKEN]);
    for (const [i, token] of forced.slice(0, 3).entries()) {
      const row = logits.subarray(i * V, (i + 1) * V);
      const total = Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0));
      const logprob = bitsToF32(u32[i * SAMPLED_WORDS + SAMPLED.logprob]!);
      assertAlmostEquals(logprob, row[token]! - total, 2e-5);
    }
  }
}

for (const [name, tuning] of Object.entries(TUNINGS)) {
  gpuTest(
    `sample_tokens gives the log-probability of a forced token: ${name}`,
    (gpu) => checkForced(gpu, tuning),
  );
}

gpuTest("sample_tokens agrees with the definition over large vocabularies", async (gpu) => {
  const filters = [
    {},
    { topK: 1 },
    { topK: 50, topP: 0.9 },
    { topK: 3000, topP: 0.99 },
    { topP: 0.95 },
    { topP: 0.2 },
    { minP: 0.02 },
    { minP: 0.001, topP: 0.9, numLogprobs: 5 },
    { temperature: 0, numLogprobs: 20 },
  ];
  const samples = filters.map((filter, seed) => ({ ...GREEDY, temperature: 0.9, seed, ...filter }));
  for (const V of [49_152, 262_144]) {
    const logits = noise(samples.length * V, V, 1).map((x) =>
      3 * Math.sign(x) / (0.2 + Math.abs(x)) + x
    );
    await checkAgreement(gpu, samples, logits, FEW_LANES);
  }
});

async function tokensOf(
  device: Device,
  samples: readonly DrawRequest[],
  logits: Float32Array,
): Promise<number[]> {
  const V = logits.length / samples.length;
  const { words, dims } = sampleStep(samples);
  const step = await device.createBuffer("step", words.byteLength);
  const rows = await device.createBuffer("logits", logits.byteLength);
  const sampled = await device.createBuffer("sampled", samples.length * SAMPLED_WORDS * 4);
  const segments = await device.createBuffer(
    "segments",
    samples.length * segmentsWords(V, FEW_LANES) * 4,
  );
  device.write(step, 0, words.slice());
  device.write(rows, 0, new Uint8Array(logits.buffer));
  const calls = samplingCalls(V, { step, logits: rows, segments, sampled }, FEW_LANES);
  const program = await device.compile(calls);
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

gpuTest("sample_tokens marks a row of NaN logits with no token", async (gpu) => {
  const [token] = await tokensOf(gpu, [GREEDY], new Float32Array(64).fill(NaN));
  assertEquals(token, 0xffffffff);
});

Deno.test("MAX_LOGPROBS pairs fit a sampled row", () => {
  assertEquals(SAMPLED.top + 2 * MAX_LOGPROBS, SAMPLED_WORDS);
});
