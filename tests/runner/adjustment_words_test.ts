import { assertEquals } from "@std/assert";
import { ADJUST, ADJUST_WORDS, DRAW, DRAW_WORDS, HEADER_WORDS, STEP } from "../../kernels/step.ts";
import type { DrawRequest, LogitAdjustment } from "../../src/core/batch.ts";
import { bitsToF32, f32ToBits } from "../../src/base/float_bits.ts";
import { adjustmentWords, putAdjustments } from "../../src/runner/adjustment_words.ts";
import { maxStepWords, StepPacker } from "../../src/runner/step_packer.ts";

const PLAIN = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0, outputIndex: 0 };
const NEUTRAL = { repetitionPenalty: 1, frequencyPenalty: 0, presencePenalty: 0 };
const BITMASK = Uint32Array.of(5, 6, 7);

const PENALIZED: LogitAdjustment = {
  ...{ repetitionPenalty: 1.5, frequencyPenalty: 0.25, presencePenalty: -1 },
  tokens: Uint32Array.of(40, 41),
  counts: Uint32Array.of(4, 1),
  biases: Float32Array.of(0, -Infinity),
};
const RESTRICTED: LogitAdjustment = {
  ...NEUTRAL,
  tokens: new Uint32Array(),
  counts: new Uint32Array(),
  biases: new Float32Array(),
  allowedTokens: BITMASK,
};
const DRAWS: DrawRequest[] = [
  { ...PLAIN, adjustment: RESTRICTED },
  PLAIN,
  { ...PLAIN, adjustment: PENALIZED },
  { ...PLAIN, adjustment: { ...PENALIZED, allowedTokens: BITMASK } },
];

Deno.test("adjustmentWords() counts records, entries, and a shared bitmask once", () => {
  assertEquals(adjustmentWords([PLAIN, PLAIN]), 0);
  assertEquals(adjustmentWords(DRAWS), 3 * ADJUST_WORDS + 2 * 6 + 3);
});

Deno.test("putAdjustments() writes what the kernel reads, and names it in header and samples", () => {
  const words = new Uint32Array(400);
  words[STEP.draws] = HEADER_WORDS;
  const at = HEADER_WORDS + DRAWS.length * DRAW_WORDS + 9;
  const { end, ...dims } = putAdjustments(words, at, DRAWS);
  assertEquals(dims, { numAdjusts: 3, maxAdjustEntries: 2, numBitmasks: 2 });
  assertEquals(end, at + adjustmentWords(DRAWS));
  assertEquals([words[STEP.numAdjusts], words[STEP.adjusts]], [3, at]);
  const named = DRAWS.map((_, i) => words[HEADER_WORDS + i * DRAW_WORDS + DRAW.adjust]);
  assertEquals(named, [at, 0, at + ADJUST_WORDS, at + 2 * ADJUST_WORDS]);
  const record = (a: number) => words.subarray(at + a * ADJUST_WORDS);
  assertEquals([0, 1, 2].map((a) => record(a)[ADJUST.draw]), [0, 2, 3]);
  assertEquals([0, 1, 2].map((a) => record(a)[ADJUST.numAllowed]), [3, 0, 3]);
  assertEquals(record(0)[ADJUST.allowed], record(2)[ADJUST.allowed]);
  const bitmask = record(0)[ADJUST.allowed]!;
  assertEquals([...words.subarray(bitmask, bitmask + 3)], [5, 6, 7]);
  const penalties = [ADJUST.repetition, ADJUST.frequency, ADJUST.presence];
  assertEquals(penalties.map((word) => bitsToF32(record(1)[word]!)), [1.5, 0.25, -1]);
  const entries = record(1)[ADJUST.tokens]!;
  assertEquals([record(1)[ADJUST.numTokens], ...words.subarray(entries, entries + 6)], [
    ...[2, 40, 41, 4, 1],
    ...[0, f32ToBits(-Infinity)],
  ]);
});

Deno.test("StepPacker grows for adjustments beyond what its limits set aside", () => {
  const limits = {
    ...{ maxTokens: 2, maxSeqs: 2, maxBlocksPerSeq: 1, maxSplits: 2 },
    ...{ blockSize: 8, queryTile: 4, splitLen: 8 },
  };
  const packer = new StepPacker(limits);
  const chunk = (adjustment?: LogitAdjustment) => ({
    ...{ sequenceId: 0, tokens: Uint32Array.of(3), start: 0, blockTables: [[0]] },
    draw: adjustment === undefined ? PLAIN : { ...PLAIN, adjustment },
  });
  const tokens = Uint32Array.from({ length: 5000 }, (_, i) => i);
  const large = { ...NEUTRAL, tokens, counts: tokens, biases: new Float32Array(5000).fill(0.5) };
  const { words } = packer.pack({ step: 0, numTokens: 1, chunks: [chunk(large)] });
  assertEquals(words.length > maxStepWords(limits), true);
  assertEquals(bitsToF32(words.at(-1)!), 0.5);
  const small = packer.pack({ step: 1, numTokens: 1, chunks: [chunk()] });
  assertEquals(small.words[small.words[STEP.draws]! + DRAW.adjust], 0);
  assertEquals(small.dims.numAdjusts, 0);
});
