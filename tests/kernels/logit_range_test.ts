import { assert, assertEquals } from "@std/assert";
import { HIGHEST, isOverflow, logitRangeWgsl, LOWEST } from "../../kernels/sampling/logit_range.ts";
import { samplingCalls, segmentsWords } from "../../kernels/sampling/sampling.ts";
import { SAMPLED_WORDS, type StepDims } from "../../kernels/step.ts";
import type { DrawRequest, LogitAdjustment } from "../../src/core/batch.ts";
import { MIN_TEMPERATURE } from "../../src/core/sampling_params.ts";
import type { Device } from "../../src/device/device.ts";
import { bitsToF32, f32ToBits } from "../../src/base/float_bits.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { StepPacker } from "../../src/runner/step_packer.ts";
import { gpuTest, noise, runOn } from "../support/agreement.ts";

const V = 300;
const NONE = 0xffffffff;
const TUNINGS = [
  { sampleLanes: 8, segmentLanes: 8, fusedVocabSize: Infinity },
  { sampleLanes: 8, segmentLanes: 8, fusedVocabSize: 0 },
];
const GREEDY = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 7, outputIndex: 0 };

/** What is close to an edge of f32 or of f64 within [0, 1], the edges included. */
const PROBABILITIES = [
  ...[0, 5e-324, 2.3e-308, 1e-46, 1e-45, 1e-40, 2 ** -126, 1e-38, 1e-37, 1e-30, 1e-10],
  ...[2 ** -24, 0.5, 1 - 2 ** -24, 1 - 2 ** -25, 1 - 2 ** -53, 1],
];
const TEMPERATURES = [
  ...[5e-324, 1e-46, 1e-40, 2 ** -126, 1e-38, 1e-30, 1e-6, 9.99e-6, 1e-5, 1.01e-5, 1e-3],
  ...[1 - 2 ** -53, 1, 1 + 2 ** -52, 2 - 2 ** -52, 2, 100],
];

function pack(samples: readonly DrawRequest[]): { words: Uint32Array; dims: StepDims } {
  const { length } = samples;
  const packer = new StepPacker({
    ...{ maxBlocksPerSeq: 1, blockSize: 8, queryTile: 8, splitLen: 8 },
    ...{ maxTokens: length, maxSeqs: length, maxSplits: length },
  });
  const chunks = samples.map((draw, sequenceId) => ({
    ...{ sequenceId, tokens: Uint32Array.of(1), start: 0, blockTables: [[sequenceId]], draw },
  }));
  return packer.pack({ step: 0, numTokens: length, chunks });
}

/** The tokens of all samples; NONE where a row draws nothing. */
async function draw(
  device: Device,
  samples: readonly DrawRequest[],
  rows: readonly Float32Array[],
  tuning = TUNINGS[0]!,
): Promise<number[]> {
  const { words, dims } = pack(samples);
  const logits = new Float32Array(rows.length * V);
  rows.forEach((row, r) => logits.set(row, r * V));
  const contents = {
    step: words.slice(),
    logits,
    segments: new Uint32Array(rows.length * segmentsWords(V, tuning)),
    sampled: new Uint32Array(rows.length * SAMPLED_WORDS),
  };
  const calls = (b: object) => samplingCalls(V, b as never, tuning);
  const sampled = await runOn(device, contents, calls, dims, "sampled");
  return rows.map((_, r) => sampled.u32[r * SAMPLED_WORDS]!);
}

/** Runs on the adapter, where there is one, and on the reference device. */
function onBoth(name: string, run: (device: Device) => Promise<void>): void {
  gpuTest(`${name}, WGSL`, run);
  Deno.test(`${name}, definition`, () => run(new ReferenceDevice()));
}

Deno.test("the bounds of logits are the same numbers in WGSL", () => {
  assert(logitRangeWgsl.includes(`HIGHEST_BITS: u32 = 0x${f32ToBits(HIGHEST).toString(16)}u`));
  assertEquals(LOWEST, -HIGHEST);
});

Deno.test("what has overflowed is NaN of any bits, +infinity, and what no logit exceeds", () => {
  const numbers = [0, -0, 1e-45, -1e-45, 1, 3.39e38, LOWEST, -3.4028234663852886e38, -Infinity];
  assertEquals(numbers.filter(isOverflow), []);
  const overflows = [0x7fc00000, 0x7f800001, 0xffc00000, 0xff800001, 0x7fffffff].map(bitsToF32);
  assert([...overflows, Infinity, HIGHEST, 3.4028234663852886e38].every(isOverflow));
});

onBoth("a draw has a token at every edge of its numbers", async (device) => {
  const samples = TEMPERATURES.flatMap((temperature) =>
    PROBABILITIES.flatMap((p) => [
      { ...GREEDY, temperature, topP: p },
      { ...GREEDY, temperature, minP: p },
      { ...GREEDY, temperature, topP: p, minP: p, topK: 2 ** 31 - 1, numLogprobs: 2 },
      { ...GREEDY, temperature, topP: p, topK: 5, seed: Number.MAX_SAFE_INTEGER },
    ])
  );
  const row = noise(V, 3, 8);
  const likeliest = row.indexOf(Math.max(...row));
  for (const tuning of TUNINGS) {
    const tokens = await draw(device, samples, samples.map(() => row), tuning);
    samples.forEach((sample, r) => {
      const label = JSON.stringify(sample);
      assert(tokens[r]! < V, `${tokens[r]} of ${label}`);
      const { temperature, topP, minP } = sample;
      const isCertain = temperature < MIN_TEMPERATURE || topP < 1e-9 || minP === 1;
      if (isCertain) assertEquals(tokens[r], likeliest, label);
    });
    assert(new Set(tokens).size > 1, "no draw was anything but greedy");
  }
});

onBoth("a draw has a token however far apart the logits are", async (device) => {
  const rows = [
    new Float32Array(V).fill(-3.3e38),
    new Float32Array(V).fill(1e-45),
    Float32Array.from({ length: V }, (_, t) => t === 77 ? 3.3e38 : -3.3e38),
    Float32Array.from({ length: V }, (_, t) => t === 77 ? -3.3e38 : -Infinity),
    Float32Array.from({ length: V }, (_, t) => t === 77 ? 0 : -1e-45),
  ];
  for (const tuning of TUNINGS) {
    for (const temperature of [0, 1e-40, MIN_TEMPERATURE, 1, 2]) {
      for (const filter of [{}, { topP: 0.9 }, { topP: 1e-40 }, { minP: 1e-40 }, { topK: 3 }]) {
        const samples = rows.map(() => ({ ...GREEDY, temperature, ...filter }));
        const tokens = await draw(device, samples, rows, tuning);
        assert(tokens.every((token) => token < V), `${tokens} at ${temperature}`);
        assertEquals(tokens.slice(2, 4), [77, 77]);
      }
    }
  }
});

/** Penalties of the tokens, with a bitmask or without. */
function adjustment(
  tokens: readonly number[],
  rest: Partial<LogitAdjustment> = {},
): LogitAdjustment {
  return {
    ...{ repetitionPenalty: 1.5, frequencyPenalty: 0.5, presencePenalty: -2 },
    tokens: Uint32Array.from(tokens),
    counts: Uint32Array.from(tokens, () => 3),
    biases: Float32Array.from(tokens, () => 1),
    ...rest,
  };
}

/** Draws of every kind: each takes its own way through the kernels. */
function waysOfDrawing(): DrawRequest[] {
  const one = Uint32Array.of(0b10);
  return [
    GREEDY,
    { ...GREEDY, temperature: 1 },
    { ...GREEDY, temperature: 1, topP: 0.5 },
    { ...GREEDY, temperature: 0.7, topP: 0.5, topK: 20, numLogprobs: 20 },
    { ...GREEDY, temperature: 0.7, minP: 0.1 },
    { ...GREEDY, adjustment: adjustment([5, 123, 299]) },
    { ...GREEDY, adjustment: adjustment([5], { allowedTokens: one }), numLogprobs: 0 },
    { ...GREEDY, temperature: 1, adjustment: adjustment([], { allowedTokens: one }) },
  ];
}

onBoth(
  "a row that has overflowed anywhere draws nothing, its neighbours as without it",
  async (device) => {
    const ways = waysOfDrawing();
    const good = noise(V, 11, 5);
    for (const tuning of TUNINGS) {
      const alone = await draw(device, ways, ways.map(() => good), tuning);
      assert(alone.every((token) => token < V));
      for (const bits of [0x7fc00000, 0xffc00000, 0x7f800001, 0x7f800000]) {
        for (const at of [0, 5, 123, 299]) {
          const bad = good.slice();
          new Uint32Array(bad.buffer)[at] = bits;
          const samples = ways.flatMap((way) => [way, way]);
          const tokens = await draw(device, samples, ways.flatMap(() => [bad, good]), tuning);
          const expected = alone.flatMap((token) => [NONE, token]);
          assertEquals(tokens, expected, `0x${bits.toString(16)} at ${at}`);
        }
      }
      const all = await draw(device, ways, ways.map(() => new Float32Array(V).fill(NaN)), tuning);
      assertEquals(all, ways.map(() => NONE));
    }
  },
);

onBoth("minus infinity bans a token; a row of nothing else draws nothing", async (device) => {
  const ways = waysOfDrawing();
  for (const tuning of TUNINGS) {
    const mostly = noise(V, 11, 5).map((logit, t) => t % 3 === 1 ? logit : -Infinity);
    const tokens = await draw(device, ways, ways.map(() => mostly), tuning);
    assert(tokens.every((token) => token < V && token % 3 === 1), String(tokens));
    const none = new Float32Array(V).fill(-Infinity);
    assertEquals(await draw(device, ways, ways.map(() => none), tuning), ways.map(() => NONE));
  }
});

onBoth("penalties and biases make no overflow of a logit that is none", async (device) => {
  const row = noise(V, 11, 5);
  row.set([3.3e38, -3.3e38, 1e-45, -1e-45, 2e38]);
  const tokens = [0, 1, 2, 3, 4];
  const extremes: Partial<LogitAdjustment>[] = [
    { repetitionPenalty: 0.01 },
    { repetitionPenalty: 100 },
    { frequencyPenalty: 2, presencePenalty: 2, biases: new Float32Array(5).fill(-100) },
    { frequencyPenalty: -2, presencePenalty: -2, biases: new Float32Array(5).fill(100) },
    { frequencyPenalty: 5e-324, presencePenalty: 1e-40, biases: new Float32Array(5).fill(1e-45) },
    { biases: new Float32Array(5).fill(-Infinity) },
  ];
  for (const tuning of TUNINGS) {
    const samples = extremes.flatMap((rest) => {
      const adjusted = { ...GREEDY, adjustment: adjustment(tokens, rest) };
      return [adjusted, { ...adjusted, temperature: 1 }];
    });
    const drawn = await draw(device, samples, samples.map(() => row), tuning);
    assert(drawn.every((token) => token < V), String(drawn));
  }
});
