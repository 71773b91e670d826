import { assertEquals, assertThrows } from "@std/assert";
import { compareAnswers } from "../../../bench/peers/agreement.ts";
import type { PeerAnswer, TopLogprobs } from "../../../bench/peers/peer_task.ts";

/** An answer of one sequence that draws the likeliest token of each step. */
function answer(...steps: TopLogprobs[]): PeerAnswer {
  const tokens = [steps.map((step) => step[0]![0])];
  const times = { prefillMs: 1, prefillCpuMs: 1, decodeMs: 1, decodeCpuMs: 1, decodeTokens: 1 };
  return { ...times, tokens, logprobs: [steps] };
}

const STEP: TopLogprobs = [[7, -1], [8, -2], [9, -3], [4, -4]];

Deno.test("compareAnswers() counts equal tokens and the largest difference", () => {
  const other: TopLogprobs = [[7, -1.05], [8, -2], [9, -3], [5, -4]];
  const { numEqual, numSteps, worst } = compareAnswers(answer(STEP, STEP), answer(STEP, other));
  assertEquals([numEqual, numSteps], [2, 2]);
  assertEquals(Math.round(worst * 1000), 50);
});

Deno.test("compareAnswers() refuses log-probabilities of another model", () => {
  const other: TopLogprobs = [[7, -1.2], [8, -2], [9, -3], [4, -4]];
  assertThrows(() => compareAnswers(answer(STEP), answer(other)), Error, "step 0: log-prob");
});

Deno.test("compareAnswers() refuses other likeliest tokens", () => {
  const other: TopLogprobs = [[7, -1], [1, -2], [2, -3], [3, -4]];
  assertThrows(() => compareAnswers(answer(STEP), answer(other)), Error, "1 are common");
});

Deno.test("compareAnswers() lets texts part at a near tie, and compares no further", () => {
  const near: TopLogprobs = [[7, -1], [8, -1.1], [9, -3], [4, -4]];
  const swapped: TopLogprobs = [[8, -1], [7, -1.1], [9, -3], [4, -4]];
  const unrelated: TopLogprobs = [[1, -1], [2, -2], [3, -3], [5, -4]];
  const found = compareAnswers(answer(near, STEP), answer(swapped, unrelated));
  assertEquals([found.numEqual, found.numSteps], [0, 1]);
});

Deno.test("compareAnswers() refuses another token that was not as likely", () => {
  const drawn = { ...answer(STEP), tokens: [[8]] };
  assertThrows(() => compareAnswers(answer(STEP), drawn), Error, "token 7 against 8");
});
