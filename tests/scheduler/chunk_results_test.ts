import { assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../src/base/invariant.ts";
import type { Batch, ScheduledChunk } from "../../src/core/batch.ts";
import { checkResults, outputsOf } from "../../src/scheduler/chunk_results.ts";
import { samplingParams } from "../support/requests.ts";

const DRAW = { ...samplingParams({ seed: 6 }), outputIndex: 0 };

function chunkOf(sequenceId: number, asked: Partial<ScheduledChunk> = {}): ScheduledChunk {
  return { sequenceId, tokens: Uint32Array.of(1), start: 0, blockTables: [[0]], ...asked };
}

function batchOf(chunks: readonly ScheduledChunk[]): Batch {
  return { step: 4, chunks, numTokens: chunks.length };
}

function corrupt(sequenceId: number) {
  return { sequenceId, outputs: [{ type: "corrupt" as const }] };
}

Deno.test("checkResults() wants one result with one output per sampling chunk, in order", () => {
  const batch = batchOf([
    chunkOf(1, { draw: DRAW }),
    chunkOf(2, { draw: DRAW }),
    chunkOf(3),
  ]);
  const outputs = [{ type: "token", token: 0 } as const];
  const [one, two] = [{ sequenceId: 1, outputs }, { sequenceId: 2, outputs }];
  checkResults(batch, [one, two]);
  assertThrows(() => checkResults(batch, [one]), InvariantError, "has 1 results, asked were 2");
  assertThrows(() => checkResults(batch, [two, one]), InvariantError, "of sequence 2, asked was 1");
  const three = [one, two, { sequenceId: 3, outputs }];
  assertThrows(() => checkResults(batch, three), InvariantError, "has 3 results, asked were 2");
  const twice = { sequenceId: 2, outputs: [...outputs, ...outputs] };
  assertThrows(() => checkResults(batch, [one, twice]), InvariantError, "2 outputs of sequence 2");
});

Deno.test("checkResults() wants an output for each thing that a chunk asks for, or one failure", () => {
  const score = { rows: Uint32Array.of(0), tokens: Uint32Array.of(2), numLogprobs: 1 };
  const pooling = { firstRow: 1, numRows: 1 };
  const batch = batchOf([chunkOf(1, { draw: DRAW, score, pooling })]);
  const drawn = { type: "token", token: 0 } as const;
  const scores = { type: "scores", scores: [] } as const;
  const pooled = { type: "pooled", sum: Float32Array.of(1) } as const;
  const failed = { type: "failed", failure: { numSoundTokens: 0 } } as const;
  checkResults(batch, [{ sequenceId: 1, outputs: [scores, pooled, drawn] }]);
  checkResults(batch, [{ sequenceId: 1, outputs: [failed] }]);
  for (const outputs of [[drawn], [pooled, drawn], []]) {
    const results = [{ sequenceId: 1, outputs }];
    assertThrows(() => checkResults(batch, results), InvariantError, "asked was 3");
  }
});

Deno.test("checkResults() takes as many draws as a chunk stands for steps, or fewer with a failure", () => {
  const batch = batchOf([chunkOf(1, { draw: DRAW, numDecodeSteps: 3 })]);
  const drawn = { type: "token", token: 0 } as const;
  const failed = { type: "failed", failure: { numSoundTokens: 0 } } as const;
  for (
    const outputs of [[drawn, drawn, drawn], [drawn, drawn, failed], [drawn, failed], [failed]]
  ) {
    checkResults(batch, [{ sequenceId: 1, outputs }]);
  }
  for (const outputs of [[drawn, drawn], [drawn, drawn, drawn, failed]]) {
    const results = [{ sequenceId: 1, outputs }];
    assertThrows(() => checkResults(batch, results), InvariantError, "asked was 3");
  }
});

Deno.test("checkResults() takes a corrupt sequence of a step that loads it, and of no other", () => {
  const batch = batchOf([chunkOf(1), chunkOf(2)]);
  const swapIns = [{ sequenceId: 2, group: 0, block: 0, hostBlock: 0 }];
  checkResults({ ...batch, swapIns }, [corrupt(2)]);
  checkResults({ ...batch, swapIns }, []);
  assertThrows(() => checkResults(batch, [corrupt(2)]), InvariantError, "which it did not load");
  assertThrows(
    () => checkResults({ ...batch, swapIns }, [corrupt(1)]),
    InvariantError,
    "sequence 1",
  );
});

Deno.test("outputsOf() gives each chunk its own outputs, and those that ask for nothing none", () => {
  const chunks = [chunkOf(1), chunkOf(2, { draw: DRAW }), chunkOf(3), chunkOf(4)];
  const outputs = [{ type: "token", token: 7 } as const];
  const results = [{ sequenceId: 2, outputs }, corrupt(4)];
  assertEquals(outputsOf(chunks, results), [[], outputs, [], corrupt(4).outputs]);
});
