import { assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../src/base/invariant.ts";
import { BatchPlan, checkResults } from "../../src/scheduler/batch_plan.ts";
import { SampledSequence } from "../../src/scheduler/sampled_sequence.ts";
import { samplingParams } from "../support/requests.ts";

function sequenceOf(id: number, numTokens: number, numLogprobs?: number): SampledSequence {
  const prompt = Uint32Array.from({ length: numTokens }, (_, i) => 10 * id + i);
  const params = samplingParams({ seed: 6, ...(numLogprobs === undefined ? {} : { numLogprobs }) });
  return new SampledSequence({ id, requestId: "r", index: 0 }, { prompt, params });
}

/** Adds tokens of a sequence that is a group of its own. */
function put(plan: BatchPlan, sequence: SampledSequence, count: number, table: number[]): void {
  plan.add(sequence, sequence, count, [table]);
}

Deno.test("BatchPlan cuts a chunk where the budget ends", () => {
  const plan = new BatchPlan(5);
  const [a, b, c] = [sequenceOf(1, 3), sequenceOf(2, 9), sequenceOf(3, 1)];
  put(plan, a, plan.countFor(a), [0, 1]);
  assertEquals(plan.countFor(b), 2);
  put(plan, b, 2, [2, 3]);
  assertEquals(plan.countFor(c), 0);
  const batch = plan.toBatch(7);
  assertEquals([batch.step, batch.numTokens], [7, 5]);
  assertEquals(batch.chunks.map(({ tokens }) => [...tokens]), [[10, 11, 12], [20, 21]]);
  assertEquals(plan.sequences, [a, b]);
});

Deno.test("BatchPlan refuses a chunk beyond the budget or beyond the sequence", () => {
  const sequence = sequenceOf(1, 3);
  assertThrows(() => put(new BatchPlan(2), sequence, 3, [0]), InvariantError, "2 possible");
  assertThrows(() => put(new BatchPlan(9), sequence, 4, [0]), InvariantError, "3 possible");
  assertThrows(() => put(new BatchPlan(9), sequence, 0, [0]), InvariantError, "chunk of 0");
});

Deno.test("BatchPlan asks for a draw only where the chunk reaches the newest token", () => {
  const sequence = sequenceOf(1, 4, 3);
  const first = new BatchPlan(3);
  put(first, sequence, 3, [0, 1]);
  assertEquals(first.toBatch(0).chunks[0]!.draw, undefined);
  sequence.numComputedTokens = 3;
  const second = new BatchPlan(3);
  put(second, sequence, 1, [0, 1]);
  const { start, draw } = second.toBatch(1).chunks[0]!;
  assertEquals(start, 3);
  assertEquals(draw, {
    temperature: 0,
    topK: 0,
    topP: 1,
    minP: 0,
    seed: 6,
    outputIndex: 0,
    numLogprobs: 3,
  });
});

Deno.test("BatchPlan numbers a draw by the sequence's outputs, not by its positions", () => {
  const sequence = sequenceOf(1, 2);
  sequence.append(5);
  sequence.append(5);
  const plan = new BatchPlan(9);
  put(plan, sequence, 4, [0, 1]);
  const { draw } = plan.toBatch(0).chunks[0]!;
  assertEquals(draw?.outputIndex, 2);
  assertEquals(Object.hasOwn(draw!, "numLogprobs"), false);
});

Deno.test("checkResults() wants one result with one output per sampling chunk, in order", () => {
  const plan = new BatchPlan(4);
  put(plan, sequenceOf(1, 1), 1, [0]);
  put(plan, sequenceOf(2, 1), 1, [1]);
  put(plan, sequenceOf(3, 9), 2, [2]);
  const batch = plan.toBatch(0);
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
  const plan = new BatchPlan(4);
  const readout = { numLogprobs: 1, pooling: "last" } as const;
  const prompt = Uint32Array.of(1, 2);
  const params = samplingParams();
  const sequence = new SampledSequence(
    { id: 1, requestId: "r", index: 0 },
    { prompt, params, readout },
  );
  put(plan, sequence, 2, [0]);
  const batch = plan.toBatch(0);
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

Deno.test("BatchPlan asks for no draw of a sequence that generates nothing", () => {
  const plan = new BatchPlan(4);
  const prompt = Uint32Array.of(1, 2);
  const params = samplingParams({ maxTokens: 0 });
  const sequence = new SampledSequence({ id: 1, requestId: "r", index: 0 }, { prompt, params });
  put(plan, sequence, 2, [0]);
  assertEquals(Object.keys(plan.toBatch(0).chunks[0]!).sort(), [
    ...["blockTables", "sequenceId", "start", "tokens"],
  ]);
  checkResults(plan.toBatch(0), []);
});

Deno.test("checkResults() takes a corrupt sequence of a step that loads it, and of no other", () => {
  const chunk = (sequenceId: number) => ({
    ...{ sequenceId, tokens: Uint32Array.of(1), start: 0, blockTables: [[0]] },
  });
  const swapIns = [{ sequenceId: 2, group: 0, block: 0, slot: 0 }];
  const batch = { step: 4, chunks: [chunk(1), chunk(2)], numTokens: 2 };
  const corrupt = (sequenceId: number) => ({ sequenceId, outputs: [{ type: "corrupt" as const }] });
  checkResults({ ...batch, swapIns }, [corrupt(2)]);
  checkResults({ ...batch, swapIns }, []);
  assertThrows(() => checkResults(batch, [corrupt(2)]), InvariantError, "which it did not load");
  assertThrows(
    () => checkResults({ ...batch, swapIns }, [corrupt(1)]),
    InvariantError,
    "sequence 1",
  );
});
