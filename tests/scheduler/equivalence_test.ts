import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Batch } from "../../src/core/batch.ts";
import type { GenerationRequest } from "../../src/core/generation.ts";
import { prefixCaches, requestSequences } from "../support/arbitraries.ts";
import { generateAlone } from "../support/paged_fake_runner.ts";
import { samplingParams } from "../support/requests.ts";
import { type RigOptions, SchedulerRig } from "../support/scheduler_rig.ts";
import { runs, times } from "../support/runs.ts";

/** The longest prompt and the longest answer of `sequenceRequests` together. */
const MAX_NUM_TOKENS = 20;

/** Requests one after the other, each `gap` steps after the one before. */
const arrivals = fc.array(
  fc.record({
    sequences: requestSequences,
    cacheScope: fc.constantFrom("a", "a", "b"),
    gap: fc.nat(6),
  }),
  { minLength: 1, maxLength: 8 },
);

type Arrivals = readonly (Omit<GenerationRequest, "id"> & { readonly gap: number })[];

/** What the rigs of a property have done together. */
interface Totals {
  numMoves: number;
  numPreemptions: number;
  numHitTokens: number;
  numEvictedBlocks: number;
  numCopies: number;
  numFurtherDecodeSteps: number;
  numWastedTokens: number;
}

/** Turns a rig through all arrivals; the answers by request and sequence. */
function answersOn(rig: SchedulerRig, requests: Arrivals, beforeStep: (rig: SchedulerRig) => void) {
  requests.forEach(({ gap, ...request }, i) => {
    for (let step = 0; step < gap; step++) {
      beforeStep(rig);
      rig.step();
    }
    rig.add({ id: `r${i}`, ...request });
  });
  while (rig.scheduler.hasWork) {
    beforeStep(rig);
    rig.step();
  }
  rig.finish();
  return requests.map(({ sequences }, i) =>
    sequences.map((_, index) => ({
      tokens: rig.tokensOf(`r${i}`, index),
      finishReason: rig.endOf(`r${i}`, index)!.finishReason!,
    }))
  );
}

/** Checks that rigs of `options` answer as the definition does; returns what they have done. */
function checkEquivalence(
  options: fc.Arbitrary<RigOptions>,
  seed: number,
  /** Returns how many blocks it has moved. */
  beforeStep: (rig: SchedulerRig) => number = () => 0,
): Totals {
  const totals = {
    numMoves: 0,
    numPreemptions: 0,
    numHitTokens: 0,
    numEvictedBlocks: 0,
    numCopies: 0,
    numFurtherDecodeSteps: 0,
    numWastedTokens: 0,
  };
  fc.assert(
    fc.property(options, arrivals, (rigOptions, requests) => {
      const rig = new SchedulerRig(rigOptions);
      const answers = answersOn(rig, requests, () => {
        totals.numMoves += beforeStep(rig);
      });
      const alone = requests.map(({ sequences }) =>
        sequences.map(({ prompt, params }) => generateAlone(prompt, params, 1000))
      );
      assertEquals(answers, alone);
      const { numPreemptions, numHitTokens, numEvictedBlocks } = rig.scheduler.stats;
      totals.numPreemptions += numPreemptions;
      totals.numHitTokens += numHitTokens;
      totals.numEvictedBlocks += numEvictedBlocks;
      totals.numFurtherDecodeSteps += rig.scheduler.stats.numFurtherDecodeSteps;
      totals.numWastedTokens += rig.scheduler.stats.numWastedTokens;
      totals.numCopies += rig.runner.batches.flatMap(({ copies = [] }) => copies).length;
    }),
    { seed, numRuns: runs(300) },
  );
  return totals;
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
  const { numPreemptions } = checkEquivalence(tight, 8);
  assert(numPreemptions > times(50), `only ${numPreemptions} preemptions: the pools are not tight`);
});

Deno.test("Scheduler gives the same answers by single decode steps and by several at once", () => {
  const rigs = fc.record({
    blockSize: fc.integer({ min: 1, max: 3 }),
    numBlocks: fc.integer({ min: MAX_NUM_TOKENS, max: MAX_NUM_TOKENS + 30 }),
    maxNumSeqs: fc.integer({ min: 1, max: 8 }),
    maxDecodeSteps: fc.integer({ min: 1, max: 8 }),
    prefixCache: fc.constantFrom({}, { forceMiss: true }),
  });
  const { numFurtherDecodeSteps, numWastedTokens, numPreemptions } = checkEquivalence(rigs, 10);
  assert(
    numFurtherDecodeSteps > times(500) && numWastedTokens > times(60) && numPreemptions > times(10),
    `${numFurtherDecodeSteps} further steps, ${numWastedTokens} wasted, ${numPreemptions} preemptions`,
  );
});

Deno.test("Scheduler gives the same answers with prompts cut by the time that they take", () => {
  const rigs = fc.record({
    blockSize: fc.integer({ min: 1, max: 3 }),
    maxNumSeqs: fc.integer({ min: 1, max: 8 }),
    maxNumBatchedTokens: fc.integer({ min: 1, max: 30 }),
    maxDecodeSteps: fc.constantFrom(1, 4),
  });
  let numSteps = 0;
  checkEquivalence(rigs, 11, (rig) => {
    numSteps++;
    const maxPrefillTokens = [9, 7, 5, 3].map((most) => 1 + numSteps * most % 11);
    rig.bounds = numSteps % 5 === 0 ? {} : { maxPrefillTokens };
    return 0;
  });
});

Deno.test("Scheduler gives the same answers under all limits together", () => {
  const all = fc.record({
    blockSize: fc.constant(2),
    numBlocks: fc.integer({ min: MAX_NUM_TOKENS / 2, max: 12 }),
    numWatermarkBlocks: fc.nat(2),
    maxNumSeqs: fc.integer({ min: 1, max: 5 }),
    maxNumBatchedTokens: fc.integer({ min: 1, max: 12 }),
  });
  const { numPreemptions } = checkEquivalence(all, 9);
  assert(numPreemptions > times(20), `only ${numPreemptions} preemptions: the pools are not tight`);
});

Deno.test("Scheduler gives the same answers with the prefix cache on, off and force-missed", () => {
  const rigs = fc.record({
    blockSize: fc.integer({ min: 1, max: 3 }),
    maxNumBatchedTokens: fc.integer({ min: 1, max: 16 }),
    prefixCache: fc.constantFrom({}, { forceMiss: true }),
  });
  const { numHitTokens, numCopies } = checkEquivalence(rigs, 12);
  assert(
    numHitTokens > times(500) && numCopies > times(100),
    `${numHitTokens} tokens hit, ${numCopies} copies`,
  );
});

Deno.test("Scheduler gives the same answers under eviction pressure, for every policy", () => {
  const rigs = fc.record({
    blockSize: fc.constantFrom(1, 2),
    numBlocks: fc.integer({ min: MAX_NUM_TOKENS, max: MAX_NUM_TOKENS + 4 }),
    maxNumBatchedTokens: fc.integer({ min: 2, max: 12 }),
    prefixCache: prefixCaches.map((cache) => cache ?? {}),
  });
  const { numHitTokens, numEvictedBlocks, numPreemptions } = checkEquivalence(rigs, 13);
  assert(numHitTokens > times(200) && numEvictedBlocks > times(200) && numPreemptions > times(50));
});

Deno.test("Scheduler gives the same answers while the pool shrinks and grows, with and without a cache", () => {
  const rigs = fc.record({
    blockSize: fc.constantFrom(1, 2),
    numBlocks: fc.integer({ min: MAX_NUM_TOKENS, max: 60 }),
    maxModelLen: fc.constant(MAX_NUM_TOKENS + 1),
    maxNumBatchedTokens: fc.integer({ min: 2, max: 12 }),
  });
  const caching = fc.tuple(rigs, prefixCaches).map(([sizes, prefixCache]) =>
    prefixCache === undefined ? sizes : { ...sizes, prefixCache }
  );
  let numSteps = 0;
  const totals = checkEquivalence(caching, 14, (rig) => {
    if (++numSteps % 3 !== 0) return 0;
    const numBlocks = numSteps % 2 === 0 ? 90 : rig.minNumBlocks + numSteps % 7;
    return rig.resize(numBlocks).moves.length;
  });
  const { numMoves, numHitTokens, numPreemptions, numEvictedBlocks } = totals;
  assert(
    numMoves > times(1000) && numHitTokens > times(200),
    `${numMoves} moves, ${numHitTokens} tokens hit`,
  );
  assert(numPreemptions > times(20) && numEvictedBlocks > times(100));
});

Deno.test("a wrong block shows as a wrong token: the fake model without its copies, and with another table", () => {
  const prompt = Uint32Array.of(1, 2, 0, 1, 2);
  const sequences = [0, 1].map((seed) => ({
    prompt,
    params: samplingParams({ seed, maxTokens: 8 }),
  }));
  const alone = generateAlone(prompt, sequences[1]!.params, 1000).tokens;
  const spoilers: ((batch: Batch) => Batch)[] = [
    ({ copies: _, ...rest }) => rest,
    ({ chunks, ...rest }) => ({
      ...rest,
      chunks: chunks.map((chunk) => {
        const [first, second, ...others] = chunk.blockTables[0]!;
        if (chunk.sequenceId === 0 || second === undefined) return chunk;
        return { ...chunk, blockTables: [[second, first!, ...others]] };
      }),
    }),
  ];
  for (const spoil of [(batch: Batch) => batch, ...spoilers]) {
    const { scheduler, runner } = new SchedulerRig({ blockSize: 3, prefixCache: {} });
    scheduler.add({ id: "a", sequences });
    const tokens: number[] = [];
    while (scheduler.hasWork) {
      const batch = scheduler.schedule()!;
      const events = scheduler.commit(batch, runner.run(spoil(batch)));
      tokens.push(...events.flatMap(({ index, token }) => index === 1 ? token! : []));
    }
    assertEquals(tokens.join() === alone.join(), !spoilers.includes(spoil));
  }
});
