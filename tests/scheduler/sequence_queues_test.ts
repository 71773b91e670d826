import { assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../src/base/invariant.ts";
import { SampledSequence } from "../../src/scheduler/sampled_sequence.ts";
import type { SequenceGroup } from "../../src/scheduler/sequence_group.ts";
import { SequenceQueues } from "../../src/scheduler/sequence_queues.ts";
import { requestOf } from "../support/requests.ts";

/** Preempts the latest admitted. */
function preemptLast(queues: SequenceQueues): SequenceGroup {
  const group = queues.running.at(-1)!;
  queues.preempt(group);
  return group;
}

function sequencesOf(requestId: string, ...ids: number[]): SampledSequence[] {
  return ids.map((id, index) =>
    new SampledSequence({ id, requestId, index }, requestOf(requestId, 2).sequences[0]!)
  );
}

function drain(queues: SequenceQueues): number[] {
  while (queues.waiting.length > 0) queues.admit(queues.waiting[0]!);
  return queues.running.map(({ id }) => id);
}

Deno.test("SequenceQueues admits in order of arrival", () => {
  const queues = new SequenceQueues();
  queues.add("a", sequencesOf("a", 1, 2));
  queues.add("b", sequencesOf("b", 3));
  assertEquals([queues.numWaiting, queues.numUnfinished], [3, 3]);
  assertEquals(drain(queues), [1, 2, 3]);
  assertEquals([queues.numWaiting, queues.numUnfinished], [0, 3]);
  queues.checkIntegrity();
});

Deno.test("SequenceQueues.admit() may take one from the midst, and keeps the order of the rest", () => {
  const queues = new SequenceQueues();
  const sequences = sequencesOf("a", 1, 2, 3);
  queues.add("a", sequences);
  queues.admit(sequences[1]!);
  assertEquals(queues.waiting.map(({ id }) => id), [1, 3]);
  assertEquals(queues.running.map(({ id }) => id), [2]);
  queues.checkIntegrity();
});

Deno.test("SequenceQueues.preempt() keeps the order of those preempted before newcomers", () => {
  const queues = new SequenceQueues();
  queues.add("a", sequencesOf("a", 1, 2, 3));
  drain(queues);
  queues.add("b", sequencesOf("b", 4));
  assertEquals([preemptLast(queues).id, preemptLast(queues).id], [3, 2]);
  queues.checkIntegrity();
  assertEquals(drain(queues), [1, 2, 3, 4]);
});

Deno.test("SequenceQueues.end() takes a sequence from where it stands, and its request with the last", () => {
  const queues = new SequenceQueues();
  const [first, second] = sequencesOf("a", 1, 2);
  queues.add("a", [first!, second!]);
  queues.admit(first!);
  queues.end(first!);
  assertEquals(queues.ofRequest("a"), [second!]);
  queues.end(second!);
  assertEquals([first!.state, second!.state], ["finished", "finished"]);
  assertEquals([queues.ofRequest("a").length, queues.numUnfinished], [0, 0]);
  queues.checkIntegrity();
  queues.add("a", sequencesOf("a", 3));
});

Deno.test("SequenceQueues.add() refuses a request that is in already, and one without sequences", () => {
  const queues = new SequenceQueues();
  queues.add("a", sequencesOf("a", 1));
  assertThrows(() => queues.add("a", sequencesOf("a", 2)), InvariantError, "request a is in");
  assertThrows(() => queues.add("b", []), InvariantError, "request b has no sequences");
});

Deno.test("SequenceQueues.checkIntegrity() finds a sequence that is not what its place says", () => {
  const queues = new SequenceQueues();
  const [sequence] = sequencesOf("a", 1);
  queues.add("a", [sequence!]);
  sequence!.numComputedTokens = 1;
  assertThrows(() => queues.checkIntegrity(), InvariantError, "waiting with 1 of 2");
  sequence!.numComputedTokens = 0;
  sequence!.state = "running";
  assertThrows(() => queues.checkIntegrity(), InvariantError, "stands among the waiting");
});
