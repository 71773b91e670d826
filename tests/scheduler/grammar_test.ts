import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { RequestError } from "../../src/core/errors.ts";
import type { SequenceRequest } from "../../src/core/generation.ts";
import { requestSequences } from "../support/arbitraries.ts";
import { allowedAfter, FAILURE, fakeGrammar, FakeMatchers } from "../support/fake_matchers.ts";
import { generateAlone } from "../support/paged_fake_runner.ts";
import { requestOf } from "../support/requests.ts";
import { runs, times } from "../support/runs.ts";
import { SchedulerRig } from "../support/scheduler_rig.ts";

/** The longest prompt and the longest answer of `requestSequences` together. */
const MAX_NUM_TOKENS = 20;

/** Sequences of which some have a grammar. */
const withGrammars = fc.tuple(requestSequences, fc.constantFrom("", "1", "2")).map(
  ([sequences, key]) =>
    sequences.map((one): SequenceRequest =>
      key === "" ? one : { ...one, grammar: fakeGrammar(key) }
    ),
);

function alone({ prompt, params, grammar }: SequenceRequest) {
  const allowed = grammar && ((outputs: readonly number[]) => allowedAfter(grammar.key, outputs));
  return generateAlone(prompt, params, 1000, allowed && { allowedAfter: allowed });
}

Deno.test("a grammar sees each drawn token once: alone, in batches, preempted, cached and cut", () => {
  let numPreemptions = 0;
  let numMade = 0;
  const arrivals = fc.array(
    fc.record({ sequences: withGrammars, gap: fc.nat(5) }),
    { minLength: 1, maxLength: 6 },
  );
  const rigs = fc.record({
    blockSize: fc.constantFrom(1, 2),
    numBlocks: fc.integer({ min: MAX_NUM_TOKENS, max: MAX_NUM_TOKENS + 10 }),
    maxNumBatchedTokens: fc.integer({ min: 3, max: 16 }),
    prefixCache: fc.constant({}),
  });
  fc.assert(
    fc.property(rigs, arrivals, (options, requests) => {
      const matchers = new FakeMatchers();
      const rig = new SchedulerRig({ ...options, matchers });
      requests.forEach(({ sequences, gap }, i) => {
        for (let step = 0; step < gap; step++) rig.step();
        rig.add({ id: `r${i}`, sequences });
      });
      rig.finish();
      requests.forEach(({ sequences }, i) =>
        sequences.forEach((sequence, index) => {
          const tokens = rig.tokensOf(`r${i}`, index);
          const { finishReason } = rig.endOf(`r${i}`, index)!;
          assertEquals({ tokens, finishReason: finishReason! }, alone(sequence));
        })
      );
      assertEquals(matchers.numOpen, 0, "a matcher is left open");
      numPreemptions += rig.scheduler.stats.numPreemptions;
      numMade += matchers.numMade;
    }),
    { seed: 21, numRuns: runs(200) },
  );
  assert(numPreemptions > times(30) && numMade > times(300), `${numPreemptions}, ${numMade}`);
});

Deno.test("an aborted sequence, running or waiting or in flight, closes its matcher", () => {
  const matchers = new FakeMatchers();
  const rig = new SchedulerRig({ maxNumSeqs: 2, matchers });
  const [one] = requestOf("a", 3, { maxTokens: 9 }).sequences;
  const sequences = [0, 1, 2].map(() => ({ ...one!, grammar: fakeGrammar("1") }));
  rig.add({ id: "a", sequences });
  assertEquals(matchers.numOpen, 3);
  rig.step();
  rig.step(() => rig.scheduler.abort("a", 0));
  rig.scheduler.abort("a", 2);
  assertEquals(matchers.numOpen, 1);
  rig.scheduler.abort("a");
  rig.finish();
  assertEquals(matchers.numOpen, 0);
});

Deno.test("a grammar that cannot be followed further ends its own sequence with the error", () => {
  const matchers = new FakeMatchers();
  const rig = new SchedulerRig({ matchers });
  const [one] = requestOf("a", 3, { maxTokens: 9 }).sequences;
  rig.add({ id: "a", sequences: [{ ...one!, grammar: fakeGrammar("9") }, one!] });
  rig.finish();
  const { finishReason, error } = rig.endOf("a", 0)!;
  assertEquals([finishReason, error, rig.tokensOf("a", 0).length], ["error", FAILURE, 3]);
  assertEquals(rig.endOf("a", 1)!.finishReason, "length");
  assertEquals(matchers.numOpen, 0);
});

Deno.test("a request whose last grammar is refused leaves nothing behind", () => {
  const matchers = new FakeMatchers();
  const rig = new SchedulerRig({ matchers });
  const [one] = requestOf("a", 3).sequences;
  const sequences = ["1", "2", "8"].map((key) => ({ ...one!, grammar: fakeGrammar(key) }));
  assertThrows(() => rig.add({ id: "a", sequences }), RequestError, "too many grammars");
  assertEquals([matchers.numMade, matchers.numOpen, rig.scheduler.hasWork], [2, 0, false]);
});
