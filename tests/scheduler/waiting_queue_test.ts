import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvariantError } from "../../src/base/invariant.ts";
import { BeamGroup } from "../../src/scheduler/beam_group.ts";
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

const { sequences: [REQUEST] } = requestOf("a", 2);

/** Queues with one request per sequence, each given as its owner; ids rise from 0. */
function queuesOf(...owners: (string | undefined)[]) {
  const queues = new SequenceQueues();
  const sequences = owners.map((owner, id) =>
    new SampledSequence({ id, requestId: `r${id}`, index: 0, owner }, REQUEST!)
  );
  for (const sequence of sequences) queues.add(sequence.requestId, [sequence]);
  return { queues, sequences };
}

/** Admits all in turn, and returns their ids. */
function drain(queues: SequenceQueues): number[] {
  const ids: number[] = [];
  const turns = queues.takeTurns();
  for (let { next } = turns; next !== undefined; next = turns.next) {
    queues.admit(next);
    ids.push(next.id);
  }
  queues.checkIntegrity();
  return ids;
}

Deno.test("AdmissionTurns alternate between owners, whose own sequences keep their order", () => {
  const { queues } = queuesOf("a", "a", "a", "a", "b", "b", undefined);
  assertEquals(drain(queues), [0, 4, 6, 1, 5, 2, 3]);
});

Deno.test("AdmissionTurns name owners of a higher priority first, and alternate within one", () => {
  const { queues } = queuesOf("low", "low");
  const more = ["high", "high", "same", "below"].map((owner, i) => {
    const identity = { id: 2 + i, requestId: `m${i}`, index: 0, owner };
    return new SampledSequence(
      { ...identity, ownerPriority: owner === "below" ? -1 : 5 },
      REQUEST!,
    );
  });
  for (const sequence of more) queues.add(sequence.requestId, [sequence]);
  assertEquals(drain(queues), [2, 4, 3, 0, 1, 5]);
});

Deno.test("AdmissionTurns count what runs: an owner with fewer seats is next, whoever came first", () => {
  const { queues, sequences } = queuesOf("a", "a", "a", "b", "b", "b");
  for (const id of [0, 1, 3]) queues.admit(sequences[id]!);
  assertEquals(queues.takeTurns().next?.id, 4);
  queues.end(sequences[0]!);
  // Equal again: the earlier arrival.
  assertEquals(queues.takeTurns().next?.id, 2);
  queues.end(sequences[3]!);
  assertEquals(queues.takeTurns().next?.id, 4);
  queues.checkIntegrity();
});

Deno.test("AdmissionTurns give a search as many seats as it has beams, and its owner fewer turns", () => {
  const { queues } = queuesOf("b", "b", "b");
  const identity = { id: 3, requestId: "search", index: 0, owner: "a" };
  const beamSearch = { width: 2, lengthPenalty: 1, earlyStopping: true };
  const group = new BeamGroup(identity, REQUEST!, { beamSearch, maxModelLen: 9 });
  queues.add("search", [group]);
  assertEquals(queues.numAnswersWaiting("a"), 2);
  queues.admit(group);
  assertEquals(queues.numAnswersWaiting("a"), 0);
  queues.add("r4", [
    new SampledSequence({ id: 4, requestId: "r4", index: 0, owner: "a" }, REQUEST!),
  ]);
  assertEquals(drain(queues), [0, 1, 2, 4]);
});

Deno.test("AdmissionTurns name preempted sequences first, in their order, whoever owns them", () => {
  const { queues } = queuesOf("a", "a", "b");
  drain(queues);
  queues.add("late", [
    new SampledSequence({ id: 9, requestId: "late", index: 0, owner: "c" }, REQUEST!),
  ]);
  assertEquals([preemptLast(queues).id, preemptLast(queues).id], [1, 2]);
  assertEquals([queues.numAnswersWaiting("a"), queues.numAnswersWaiting("b")], [1, 1]);
  assertEquals(drain(queues), [2, 1, 9]);
});

Deno.test("AdmissionTurns.passOver() lets those behind have their turn, preempted or not", () => {
  const { queues } = queuesOf("a", "a", "b");
  drain(queues);
  preemptLast(queues);
  preemptLast(queues);
  queues.add("late", [
    new SampledSequence({ id: 9, requestId: "late", index: 0, owner: "c" }, REQUEST!),
  ]);
  const turns = queues.takeTurns();
  const ids: (number | undefined)[] = [];
  for (let i = 0; i < 4; i++, turns.passOver()) ids.push(turns.next?.id);
  assertEquals(ids, [2, 1, 9, undefined]);
});

Deno.test("WaitingQueue forgets an owner without work, and finds miscounted seats", () => {
  const { queues, sequences } = queuesOf("a", "b");
  drain(queues);
  queues.end(sequences[0]!);
  queues.checkIntegrity();
  Object.defineProperty(sequences[1], "numSeats", { value: 2 });
  assertThrows(
    () => queues.checkIntegrity(),
    InvariantError,
    "owner b has 0 answers waiting and 2",
  );
});

Deno.test("WaitingQueue is one list, first come, first served, where there is one owner", () => {
  const action = fc.oneof(
    fc.constant({ verb: "add" as const }),
    fc.constant({ verb: "preempt" as const }),
    fc.record({ verb: fc.constantFrom("admit" as const, "end" as const), at: fc.nat(5) }),
  );
  let numAdmitted = 0;
  fc.assert(
    fc.property(fc.array(action, { minLength: 20, maxLength: 80 }), (actions) => {
      const queues = new SequenceQueues();
      const waiting: number[] = [];
      let nextId = 0;
      const turnAt = (at: number) => {
        const turns = queues.takeTurns();
        for (let i = 0; i < at; i++) turns.passOver();
        return turns.next;
      };
      for (const did of actions) {
        if (did.verb === "add") {
          const id = nextId++;
          const requestId = `r${id}`;
          queues.add(requestId, [new SampledSequence({ id, requestId, index: 0 }, REQUEST!)]);
          waiting.push(id);
        } else if (did.verb === "preempt") {
          if (queues.running.length > 0) waiting.unshift(preemptLast(queues).id);
        } else {
          const sequence = turnAt(did.at);
          assertEquals(sequence?.id, waiting[did.at]);
          if (sequence === undefined) continue;
          waiting.splice(did.at, 1);
          if (did.verb === "admit") numAdmitted++;
          queues[did.verb](sequence);
        }
        assertEquals(queues.waiting.map(({ id }) => id), waiting);
        queues.checkIntegrity();
      }
    }),
    { seed: 3 },
  );
  assert(numAdmitted > 100, `only ${numAdmitted} admissions`);
});
