import { assertEquals } from "@std/assert";
import {
  formatStepTraceRecord,
  parseStepTraceRecord,
  type StepTraceRecord,
} from "../../src/engine/step_trace.ts";

/** A step with everything that plain JSON would lose. */
const PLAN: StepTraceRecord = {
  type: "plan",
  ms: 12.25,
  batch: {
    step: 3,
    numTokens: 2,
    copies: [{ group: 0, from: 1, to: 2, numTokens: 5 }],
    chunks: [{
      sequenceId: 7,
      tokens: Uint32Array.of(5, 0xffffffff),
      start: 9,
      score: { rows: Uint32Array.of(1), tokens: Uint32Array.of(4), numLogprobs: 0 },
      pooling: { firstRow: 0, numRows: 2, before: Float32Array.of(0.1, -3) },
      blockTables: [[4, 2, 0]],
      draw: {
        ...{ temperature: 0.1, topK: 0, topP: 1, minP: 0, seed: 2 ** 53 - 1, outputIndex: 0 },
        adjustment: {
          ...{ repetitionPenalty: 1.5, frequencyPenalty: 0, presencePenalty: -1 },
          tokens: Uint32Array.of(1, 2),
          counts: Uint32Array.of(0, 3),
          biases: Float32Array.of(-Infinity, 0.1),
          allowedTokens: Uint32Array.of(0x80000001),
        },
      },
    }],
  },
};

Deno.test("parseStepTraceRecord() reads what formatStepTraceRecord() writes, typed arrays and infinities too", () => {
  const results: StepTraceRecord = {
    type: "results",
    ms: 0,
    step: 3,
    results: [{
      sequenceId: 7,
      outputs: [
        {
          type: "token",
          token: 5,
          logprob: -Infinity,
          topLogprobs: [{ token: 5, logprob: Math.fround(-0.1) }],
        },
        { type: "failed", failure: { numSoundTokens: 3 } },
        {
          type: "scores",
          scores: [{ token: 1, logprob: -Infinity, topLogprobs: [] }],
        },
        { type: "pooled", sum: Float32Array.of(0.25) },
      ],
    }],
  };
  const prompt = Uint32Array.of(1, 2);
  const params = { maxTokens: 1, temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0 };
  const request = {
    id: "a",
    sequences: [{ prompt, params: { ...params, stopTokenIds: [1] } }],
    resumed: { sequences: [{ tokens: Uint32Array.of(7, 8), hasEnded: false }], elapsedMs: 0.5 },
  };
  for (const record of [PLAN, results, { type: "add", ms: 1, request } satisfies StepTraceRecord]) {
    const line = formatStepTraceRecord(record);
    assertEquals(line.includes("\n"), false);
    assertEquals(parseStepTraceRecord(line), record);
  }
});
