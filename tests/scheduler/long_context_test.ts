import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { BeamSearchParams } from "../../src/core/beam_search_params.ts";
import type { GenerationRequest } from "../../src/core/generation.ts";
import type { SamplingParams } from "../../src/core/sampling_params.ts";
import { prefixCaches } from "../support/arbitraries.ts";
import { searchAlone } from "../support/beam_reference.ts";
import { generateAlone, likeliestAfter } from "../support/paged_fake_runner.ts";
import { samplingParams } from "../support/requests.ts";
import { chunksOf, SchedulerRig } from "../support/scheduler_rig.ts";
import { runs } from "../support/runs.ts";

const PROMPT = [1, 2, 3];
const LONG_PROMPT = [1, 2, 3, 1, 2, 3, 1];
const VOCAB_SIZE = 7;

/** A request of one sequence. */
function requestOf(
  id: string,
  prompt: readonly number[],
  params: Partial<SamplingParams>,
): GenerationRequest {
  return {
    id,
    sequences: [{ prompt: Uint32Array.from(prompt), params: samplingParams(params) }],
  };
}

/** Which chunks of a rig's steps so far are of long contexts. */
function flagsOf({ runner }: SchedulerRig): boolean[] {
  return runner.batches.flatMap(({ chunks }) =>
    chunks.map(({ isLongContext }) => isLongContext ?? false)
  );
}

Deno.test("Scheduler computes a sequence anew, once, with the token that outgrows the short context", () => {
  const rig = new SchedulerRig({ shortContextLen: 5, prefixCache: {} });
  rig.add(requestOf("a", PROMPT, { maxTokens: 6 }));
  const chunks = [];
  while (rig.scheduler.hasWork) chunks.push(...chunksOf(rig.step()));
  assertEquals(chunks, [[0, 0, 3], [0, 3, 1], [0, 4, 1], [0, 0, 6], [0, 6, 1], [0, 7, 1]]);
  assertEquals(flagsOf(rig), [false, false, false, true, true, true]);
  assertEquals(rig.scheduler.stats.numPreemptions, 1);
  const { tokens } = generateAlone(PROMPT, samplingParams({ maxTokens: 6 }), 1000, {
    shortContextLen: 5,
  });
  assertEquals(rig.tokensOf("a"), tokens);
});

Deno.test("Scheduler computes a longer prompt for long contexts from its first chunk on", () => {
  const rig = new SchedulerRig({ shortContextLen: 5, maxNumBatchedTokens: 4 });
  rig.add(requestOf("a", LONG_PROMPT, { maxTokens: 2 }));
  rig.finish();
  assertEquals(flagsOf(rig), [true, true, true]);
  assertEquals(rig.scheduler.stats.numPreemptions, 0);
});

Deno.test("Scheduler finds KV of short and of long contexts each for itself", () => {
  const rig = new SchedulerRig({ shortContextLen: 5, blockSize: 1, prefixCache: {} });
  const hits = [PROMPT, LONG_PROMPT, LONG_PROMPT, PROMPT].map((prompt, i) => {
    const before = rig.scheduler.stats.numHitTokens;
    rig.add(requestOf(`r${i}`, prompt, { maxTokens: 1 }));
    rig.finish();
    return rig.scheduler.stats.numHitTokens - before;
  });
  assertEquals(hits, [0, 0, LONG_PROMPT.length - 1, PROMPT.length - 1]);
});

Deno.test("Scheduler lets no sequence fork a sibling that has outgrown the short context", () => {
  const rig = new SchedulerRig({ shortContextLen: 5, maxNumSeqs: 2, blockSize: 1 });
  // Holds the seat of the second sibling until the first one is long.
  rig.add(requestOf("seat", [4], { maxTokens: 8, stopTokenIds: [] }));
  const params = [0, 1].map((seed) => samplingParams({ maxTokens: 16, seed }));
  rig.add({
    id: "a",
    sequences: params.map((each) => ({ prompt: Uint32Array.from(PROMPT), params: each })),
  });
  rig.finish();
  const second = rig.runner.batches.flatMap(({ chunks }) =>
    chunks.filter(({ sequenceId }) => sequenceId === 2)
  );
  assertEquals([second[0]!.start, second[0]!.isLongContext], [0, undefined]);
  params.forEach((each, index) => {
    const alone = generateAlone(PROMPT, each, 1000, { shortContextLen: 5 });
    assertEquals(rig.tokensOf("a", index), alone.tokens);
  });
});

Deno.test("Scheduler preempts all that outgrow the short context at once, and keeps their order", () => {
  const rig = new SchedulerRig({ shortContextLen: 5 });
  for (const id of ["a", "b"]) rig.add(requestOf(id, PROMPT, { maxTokens: 4 }));
  const starts = [];
  while (rig.scheduler.hasWork) starts.push(chunksOf(rig.step()).map(([id, start]) => [id, start]));
  assertEquals(starts.at(-1), [[0, 0], [1, 0]]);
});

Deno.test("Scheduler's searches find what the definition does, as they outgrow the short context", () => {
  fc.assert(
    fc.property(
      fc.record({
        shortContextLen: fc.integer({ min: 1, max: 14 }),
        blockSize: fc.integer({ min: 1, max: 4 }),
        maxNumBatchedTokens: fc.integer({ min: 4, max: 12 }),
        prefixCache: prefixCaches,
        prompt: fc.array(fc.nat(2), { minLength: 1, maxLength: 7 }),
        width: fc.integer({ min: 1, max: 4 }),
        maxTokens: fc.integer({ min: 1, max: 12 }),
      }),
      ({ prompt, width, maxTokens, prefixCache, ...sizes }) => {
        const rig = new SchedulerRig({
          ...sizes,
          vocabSize: VOCAB_SIZE,
          ...(prefixCache && { prefixCache }),
        });
        const beamSearch: BeamSearchParams = { width, lengthPenalty: 1, earlyStopping: true };
        const request: GenerationRequest = {
          id: "a",
          beamSearch,
          sequences: Array.from({ length: width }, () => ({
            prompt: Uint32Array.from(prompt),
            params: samplingParams({ maxTokens }),
          })),
        };
        rig.add(request);
        rig.finish();
        const { answers } = searchAlone(
          (tokens, count) => likeliestAfter(tokens, count, VOCAB_SIZE, sizes.shortContextLen),
          { ...beamSearch, prompt, stopTokenIds: [], maxNumTokens: maxTokens },
        );
        const found = answers.map((_, index) => rig.tokensOf("a", index));
        assertEquals(found, answers.map(({ outputs }) => outputs));
      },
    ),
    { seed: 35, numRuns: runs(300) },
  );
});
