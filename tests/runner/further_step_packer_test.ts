import { assertEquals } from "@std/assert";
import { FURTHER_ENTRY_WORDS } from "../../kernels/sampling/next_step.ts";
import { DRAW, STEP } from "../../kernels/step.ts";
import type { Batch, ScheduledChunk } from "../../src/core/batch.ts";
import { FurtherStepPacker } from "../../src/runner/further_step_packer.ts";
import { StepPacker } from "../../src/runner/step_packer.ts";

const LIMITS = {
  ...{ maxTokens: 32, maxSeqs: 3, maxBlocksPerSeq: 4, maxSplits: 20 },
  ...{ blockSize: 8, queryTile: 4, splitLen: 6 },
};
const PLAIN = { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 3, outputIndex: 6 };

function chunkOf(sequenceId: number, start: number, numDecodeSteps: number): ScheduledChunk {
  const blockTables = [[7 + sequenceId, 3 + sequenceId, 9 + sequenceId]];
  const decode = { sequenceId, tokens: Uint32Array.of(40), start, blockTables, draw: PLAIN };
  return numDecodeSteps === 1 ? decode : { ...decode, numDecodeSteps };
}

/** Sequences that take 3, 1 and 2 steps. */
const BATCH: Batch = {
  step: 4,
  chunks: [chunkOf(0, 6, 3), chunkOf(1, 2, 1), chunkOf(2, 12, 2)],
  numTokens: 3,
};

Deno.test("FurtherStepPacker packs each further step as a step of those that take it, of the draws before", () => {
  const { words, steps, draws } = new FurtherStepPacker(new StepPacker(LIMITS)).pack(BATCH);
  // Rows of `sampled`: three of the first step, two of the second, one of the third.
  assertEquals(draws, [[0, 3, 5], [1], [2, 4]]);
  const stepWords = steps.map(({ numWords }, i) => {
    const [first, length] = words.subarray(FURTHER_ENTRY_WORDS * i);
    assertEquals(length, numWords);
    return words.subarray(first, first! + numWords);
  });
  const regionOf = (
    step: Uint32Array,
    at: keyof typeof STEP,
  ) => [...step.subarray(step[STEP[at]], step[STEP[at]]! + step[STEP.numTokens]!)];
  assertEquals(stepWords.map((step) => regionOf(step, "tokens")), [[0, 2], [3]]);
  assertEquals(stepWords.map((step) => regionOf(step, "positions")), [[7, 13], [8]]);
  // Blocks 7, 3 and 9 of the first sequence, 9, 5 and 11 of the third, 8 positions each.
  assertEquals(stepWords.map((step) => regionOf(step, "slots")), [[63, 45], [24]]);
  assertEquals(stepWords.map((step) => step[STEP.firstDraw]), [3, 5]);
  const outputs = stepWords.map((step) => step[step[STEP.draws]! + DRAW.outputIndex]);
  assertEquals(outputs, [7, 8]);
  assertEquals(steps.map(({ dims: { numDecodes, numDraws } }) => [numDecodes, numDraws]), [
    [2, 2],
    [1, 1],
  ]);
});

Deno.test("FurtherStepPacker foresees of each step the one of its place in the next plan like it", () => {
  const { steps } = new FurtherStepPacker(new StepPacker(LIMITS)).pack(BATCH);
  // Contexts of 8 and 14 positions, and 11 and 17 three steps on; of 9, and 12; splits of 6.
  assertEquals(steps.map(({ dims }) => [dims.numSplits[0], dims.numNextSplits[0]]), [
    [2 + 3, 2 + 3],
    [2, 2],
  ]);
  const longer = { ...BATCH, chunks: [chunkOf(0, 8, 3)] };
  const { steps: [first] } = new FurtherStepPacker(new StepPacker(LIMITS)).pack(longer);
  assertEquals([first!.dims.numSplits, first!.dims.numNextSplits], [[2], [3]]);
});
