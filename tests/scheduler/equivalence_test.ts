import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { SequenceRequest } from "../../src/core/generation.ts";
import { sequenceRequests } from "../support/arbitraries.ts";
import { generateAlone } from "../support/paged_fake_runner.ts";
import { type RigOptions, SchedulerRig } from "../support/scheduler_rig.ts";

/** The longest prompt and the longest answer of `sequenceRequests` together. */
const MAX_NUM_TOKENS = 20;

/** Requests one after the other, each `gap` steps after the one before. */
const arrivals = fc.array(fc.record({ sequence: sequenceRequests, gap: fc.nat(3) }), {
  minLength: 1,
  maxLength: 8,
});

type Arrivals = readonly { readonly sequence: SequenceRequest; readonly gap: number }[];

/** The answers to all arrivals on one rig, and how often it preempted. */
function answersOn(options: RigOptions, requests: Arrivals) {
  const rig = new SchedulerRig(options);
  requests.forEach(({ sequence, gap }, i) => {
    for (let step = 0; step < gap; step++) rig.step();
    rig.add({ id: `r${i}`, sequences: [sequence] });
  });
  rig.finish();
  const answers = requests.map((_, i) => ({
    tokens: rig.tokensOf(`r${i}`),
    finishReason: rig.endOf(`r${i}`)!.finishReason!,
  }));
  return { answers, numPreemptions: rig.scheduler.stats.numPreemptions };
}

/** Checks that rigs of `options` answer as the definition does; returns the preemptions seen. */
function checkEquivalence(options: fc.Arbitrary<RigOptions>, seed: number): number {
  let total = 0;
  fc.assert(
    fc.property(options, arrivals, (rigOptions, requests) => {
      const { answers, numPreemptions } = answersOn(rigOptions, requests);
      const alone = requests.map(({ sequence: { prompt, params } }) =>
        generateAlone(prompt, params, 1000)
      );
      assertEquals(answers, alone);
      total += numPreemptions;
    }),
    { seed, numRuns: 200 },
  );
  return total;
}

Deno.test("Scheduler gives the same answers alone and in any batch", () => {
  checkEquivalence(fc.record({ maxNumSeqs: fc.integer({ min: 1, max: 8 }) }), 5);
});

Deno.test("Scheduler gives the same answers with whole and with chunked prompts", () => {
  checkEquivalence(fc.record({ maxNumBatchedTokens: fc.integer({ min: 1, max: 16 }) }), 6);
});

Deno.test("Scheduler gives the same answers for any block size", () => {
  checkEquivalence(fc.record({ blockSize: fc.integer({ min: 1, max: 32 }) }), 7);
});

Deno.test("Scheduler gives the same answers with and without preemption", () => {
  const tight = fc.record({
    blockSize: fc.constant(1),
    numBlocks: fc.integer({ min: MAX_NUM_TOKENS, max: MAX_NUM_TOKENS + 10 }),
  });
  const numPreemptions = checkEquivalence(tight, 8);
  assert(numPreemptions > 50, `only ${numPreemptions} preemptions: the pools are not tight`);
});

Deno.test("Scheduler gives the same answers under all limits together", () => {
  const all = fc.record({
    blockSize: fc.constant(2),
    numBlocks: fc.integer({ min: MAX_NUM_TOKENS / 2, max: 12 }),
    numWatermarkBlocks: fc.nat(2),
    maxNumSeqs: fc.integer({ min: 1, max: 5 }),
    maxNumBatchedTokens: fc.integer({ min: 1, max: 12 }),
  });
  const numPreemptions = checkEquivalence(all, 9);
  assert(numPreemptions > 20, `only ${numPreemptions} preemptions: the pools are not tight`);
});
