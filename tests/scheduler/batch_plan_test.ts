import { assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../src/base/invariant.ts";
import { BatchPlan } from "../../src/scheduler/batch_plan.ts";
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

Deno.test("BatchPlan asks for no draw of a sequence that generates nothing", () => {
  const plan = new BatchPlan(4);
  const prompt = Uint32Array.of(1, 2);
  const params = samplingParams({ maxTokens: 0 });
  const sequence = new SampledSequence({ id: 1, requestId: "r", index: 0 }, { prompt, params });
  put(plan, sequence, 2, [0]);
  assertEquals(Object.keys(plan.toBatch(0).chunks[0]!).sort(), [
    ...["blockTables", "sequenceId", "start", "tokens"],
  ]);
});
