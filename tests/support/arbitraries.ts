import fc from "fast-check";
import type { SequenceRequest } from "../../src/core/generation.ts";
import { FAKE_VOCAB_SIZE } from "./paged_fake_runner.ts";
import { samplingParams } from "./requests.ts";
import type { RigOptions } from "./scheduler_rig.ts";

/** Prompts over three tokens, so that they often begin alike, and short answers. */
export const sequenceRequests: fc.Arbitrary<SequenceRequest> = fc.record({
  prompt: fc.array(fc.nat(2), { minLength: 1, maxLength: 6 }).map((ids) => Uint32Array.from(ids)),
  params: fc.record({
    maxTokens: fc.integer({ min: 1, max: 14 }),
    seed: fc.nat(3),
    stopTokenIds: fc.uniqueArray(fc.nat(FAKE_VOCAB_SIZE - 1), { maxLength: 1 }),
  }).map(samplingParams),
});

/** Sizes at which every limit is met often. */
export const tinyRigs: fc.Arbitrary<RigOptions> = fc.record({
  numBlocks: fc.integer({ min: 1, max: 16 }),
  blockSize: fc.integer({ min: 1, max: 3 }),
  numWatermarkBlocks: fc.nat(2),
  maxModelLen: fc.integer({ min: 6, max: 24 }),
  maxNumSeqs: fc.integer({ min: 1, max: 6 }),
  maxNumBatchedTokens: fc.integer({ min: 1, max: 12 }),
  maxNumWaitingSeqs: fc.integer({ min: 1, max: 8 }),
});

/** One thing that happens to a scheduler. */
export type SchedulerAction =
  | { readonly verb: "submit"; readonly sequences: readonly SequenceRequest[] }
  /** `pick` chooses among the requests so far; without `index`, all its sequences. */
  | { readonly verb: "abort"; readonly pick: number; readonly index: number | undefined }
  /** A turn, with whatever happens while its step is in flight. */
  | { readonly verb: "step"; readonly inFlight: readonly SchedulerAction[] };

const submits = fc.record({
  verb: fc.constant("submit" as const),
  sequences: fc.array(sequenceRequests, { minLength: 1, maxLength: 3 }),
});
const aborts = fc.record({
  verb: fc.constant("abort" as const),
  pick: fc.nat(20),
  index: fc.option(fc.nat(2), { nil: undefined }),
});
const steps = fc.record({
  verb: fc.constant("step" as const),
  inFlight: fc.array(fc.oneof(submits, aborts), { maxLength: 2 }),
});

/** Histories of submissions, aborts and turns. */
export const schedulerHistories: fc.Arbitrary<SchedulerAction[]> = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: submits },
    { weight: 1, arbitrary: aborts },
    { weight: 6, arbitrary: steps },
  ),
  { maxLength: 40 },
);
