import { assert, assertEquals } from "@std/assert";
import { adjustLogitsCall } from "../../kernels/sampling/adjust_logits.ts";
import { samplingCalls, segmentsWords } from "../../kernels/sampling/sampling.ts";
import { LOWEST } from "../../kernels/sampling/logit_range.ts";
import { SAMPLED, SAMPLED_WORDS, type StepDims } from "../../kernels/step.ts";
import { SOFTWARE_TUNING } from "../../kernels/tuning/tuning.ts";
import type { DrawRequest, LogitAdjustment } from "../../src/core/batch.ts";
import type { Device } from "../../src/device/device.ts";
import { bitsToF32 } from "../../src/base/float_bits.ts";
import { HostBuffer } from "../../src/device/host_buffer.ts";
import { ReferenceDevice } from "../../src/device/reference_device.ts";
import { StepPacker } from "../../src/runner/step_packer.ts";
import { gpuTest, noise, runBoth } from "../support/agreement.ts";

const GREEDY = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0, outputIndex: 0 };

/** An adjustment of entries `[token, times drawn, in the prompt, bias]`. */
function adjustmentOf(
  entries: readonly (readonly [number, number, boolean, number])[],
  rest: Partial<LogitAdjustment> = {},
): LogitAdjustment {
  return {
    ...{ repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0 },
    tokens: Uint32Array.from(entries, ([token]) => token),
    counts: Uint32Array.from(entries, ([, count, inPrompt]) => 2 * count + Number(inPrompt)),
    biases: Float32Array.from(entries, ([, , , bias]) => bias),
    ...rest,
  };
}

function pack(draws: readonly DrawRequest[]): { words: Uint32Array; dims: StepDims } {
  const limits = { maxBlocksPerSeq: 1, blockSize: 8, queryTile: 8, splitLen: 8 };
  const { length } = draws;
  const packer = new StepPacker({
    ...limits,
    ...{ maxTokens: length, maxSeqs: length, maxSplits: length },
  });
  const chunks = draws.map((draw, i) => ({
    sequenceId: i,
    tokens: Uint32Array.of(1),
    start: 0,
    blockTables: [[i]],
    draw,
  }));
  return packer.pack({ step: 0, numTokens: draws.length, chunks });
}

/** The logits of one row after its adjustment, by the definition. */
async function adjusted(row: readonly number[], adjustment: LogitAdjustment): Promise<number[]> {
  const device = new ReferenceDevice();
  const { words, dims } = pack([{ ...GREEDY, adjustment }]);
  const step = await device.createBuffer("step", words.byteLength);
  const logits = await device.createBuffer("logits", 4 * row.length);
  device.write(step, 0, words);
  device.write(logits, 0, new Uint8Array(Float32Array.from(row).buffer));
  const call = adjustLogitsCall({ V: row.length, LANES: 8 }, { step, logits });
  await device.run(await device.compile([call]), dims, { buffer: logits, bytes: 4 });
  return [...(logits as HostBuffer).f32];
}

Deno.test("adjust_logits' definition divides and multiplies by the repetition penalty", async () => {
  const entries = [[0, 1, false, 0], [1, 0, true, 0], [3, 0, false, 0]] as const;
  const rest = { repetitionPenalty: 2 };
  assertEquals(await adjusted([3, -3, 5, 7], adjustmentOf(entries, rest)), [1.5, -6, 5, 7]);
});

Deno.test("adjust_logits' definition takes frequency by count and presence once, of outputs only", async () => {
  const entries = [[0, 3, false, 0], [1, 0, true, 0], [2, 1, true, 0]] as const;
  const rest = { frequencyPenalty: 0.5, presencePenalty: 0.25 };
  assertEquals(await adjusted([1, 1, 1, 1], adjustmentOf(entries, rest)), [-0.75, 1, 0.25, 1]);
});

Deno.test("adjust_logits' definition adds biases last, bans, and passes over ids beyond the row", async () => {
  const entries = [[0, 1, false, 10], [2, 0, false, -Infinity], [9, 5, true, 3]] as const;
  const rest = { repetitionPenalty: 4 };
  assertEquals(await adjusted([8, 1, 2, 3], adjustmentOf(entries, rest)), [12, 1, LOWEST, 3]);
});

Deno.test("adjust_logits' definition bans what the bitmask leaves out or does not reach", async () => {
  const row = Array.from({ length: 40 }, (_, i) => i);
  const allowedTokens = Uint32Array.of(0b1010);
  const result = await adjusted(
    row,
    adjustmentOf([[3, 0, false, 1], [2, 0, false, 50]], { allowedTokens }),
  );
  assertEquals(result.map((logit) => logit > LOWEST), row.map((t) => t === 1 || t === 3));
  assertEquals([result[1], result[3]], [1, 4]);
});

/** Rows without adjustment, with few and many entries, with bitmasks shared and short. */
function requests(V: number): DrawRequest[] {
  const shared = Uint32Array.from({ length: Math.ceil(V / 32) }, (_, i) => 0x5a5a5a5a ^ i);
  const penalties = { repetitionPenalty: 1.3, frequencyPenalty: 0.7, presencePenalty: -0.4 };
  const many = Array.from(
    { length: V },
    (_, t) => [(t * 7) % V, t % 4, t % 3 === 0, t % 11 === 0 ? -Infinity : (t % 5) - 2] as const,
  );
  const adjustments: (LogitAdjustment | undefined)[] = [
    undefined,
    adjustmentOf([[V - 1, 2, true, 1.5], [V + 7, 1, true, 1]], penalties),
    adjustmentOf(many.slice(0, Math.floor(V / 2)), penalties),
    adjustmentOf([], { allowedTokens: shared }),
    undefined,
    adjustmentOf(many, { ...penalties, allowedTokens: shared }),
    adjustmentOf(many.slice(0, 3), { allowedTokens: Uint32Array.of(0xffff) }),
  ];
  return adjustments.map((adjustment, seed) => ({
    ...GREEDY,
    seed,
    temperature: seed % 2,
    ...(adjustment === undefined ? {} : { adjustment }),
    ...(seed % 3 === 1 ? {} : { numLogprobs: seed }),
  }));
}

for (const V of [17, 2048, 9000]) {
  gpuTest(`adjust_logits agrees with the definition: ${V} tokens`, async (gpu) => {
    const samples = requests(V);
    const { words, dims } = pack(samples);
    const logits = noise(samples.length * V, 5, 9);
    const { actual, expected } = await runBoth(
      gpu,
      { step: words, logits },
      (b) => [adjustLogitsCall({ V, LANES: 8 }, b as never)],
      dims,
      "logits",
    );
    const untouched = [0, 4].flatMap((r) => [...actual.f32.subarray(r * V, (r + 1) * V)]);
    assertEquals(untouched, [0, 4].flatMap((r) => [...logits.subarray(r * V, (r + 1) * V)]));
    actual.f32.forEach((logit, i) => {
      const wanted = expected.f32[i]!;
      assert(Math.abs(logit - wanted) <= 1e-6 * Math.max(1, Math.abs(wanted)), `${i}: ${logit}`);
    });
  });
}

gpuTest("adjust_logits bans all tokens beyond a short bitmask", async (gpu) => {
  const V = 5000;
  const adjustment = adjustmentOf([], { allowedTokens: Uint32Array.of(0, 0b100) });
  const { words, dims } = pack([{ ...GREEDY, adjustment }]);
  const { actual } = await runBoth(
    gpu,
    { step: words, logits: noise(V, 3) },
    (b) => [adjustLogitsCall({ V, LANES: 8 }, b as never)],
    dims,
    "logits",
  );
  const left = [...actual.f32.keys()].filter((t) => actual.f32[t]! > LOWEST);
  assertEquals(left, [34]);
});

/** What all samples draw and report, and the logits they drew from before adjustment. */
async function drawAdjusted(device: Device, V: number) {
  const samples = requests(V);
  const logits = noise(samples.length * V, 6, 5);
  const { words, dims } = pack(samples);
  const { actual } = await runBoth(
    device,
    {
      step: words,
      logits,
      segments: new Uint32Array(samples.length * segmentsWords(V, SOFTWARE_TUNING)),
      sampled: new Uint32Array(samples.length * SAMPLED_WORDS),
    },
    (b) => samplingCalls(V, b as never, SOFTWARE_TUNING),
    dims,
    "sampled",
  );
  return { samples, logits, sampled: actual };
}

async function checkLogprobs(device: Device): Promise<void> {
  for (const V of [300, 9000]) {
    const { samples, logits, sampled } = await drawAdjusted(device, V);
    samples.forEach(({ numLogprobs, adjustment }, r) => {
      const row = logits.subarray(r * V, (r + 1) * V);
      const words = sampled.u32.subarray(r * SAMPLED_WORDS, (r + 1) * SAMPLED_WORDS);
      const token = words[SAMPLED.token]!;
      const word = adjustment?.allowedTokens?.[token >>> 5] ?? (adjustment?.allowedTokens ? 0 : ~0);
      assert((word >>> token % 32 & 1) === 1, `row ${r} drew ${token}, which is not allowed`);
      if (numLogprobs === undefined) return;
      const total = Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0));
      const error = Math.abs(bitsToF32(words[SAMPLED.logprob]!) - (row[token]! - total));
      assert(error < 2e-5, `row ${r}: the log-probability is off by ${error}`);
    });
  }
}

gpuTest("log-probabilities are those from before the adjustment", checkLogprobs);
Deno.test("log-probabilities are by definition those from before the adjustment", () =>
  checkLogprobs(new ReferenceDevice()));
