import fc from "fast-check";
import { EVICTION_POLICIES, type SchedulingSettings } from "../../src/core/engine_config.ts";
import type { GenerationRequest, SequenceRequest } from "../../src/core/generation.ts";
import { chunksOf, FULL, STATE, windowOf } from "./kv_groups.ts";
import { FAKE_VOCAB_SIZE } from "./paged_fake_runner.ts";
import { samplingParams } from "./requests.ts";
import type { RigOptions } from "./scheduler_rig.ts";

/** What may be asked of logits, mostly nothing. */
const adjustments = fc.oneof(
  { weight: 3, arbitrary: fc.constant({}) },
  {
    weight: 2,
    arbitrary: fc.record({
      repetitionPenalty: fc.constantFrom(1, 1.5),
      frequencyPenalty: fc.constantFrom(0, 0.25),
      presencePenalty: fc.constantFrom(0, -1),
      minTokens: fc.nat(6),
      logitBias: fc.uniqueArray(fc.nat(FAKE_VOCAB_SIZE - 1), { maxLength: 2 })
        .map((ids) => ids.map((id) => [id, id / 4] as const)),
      allowedTokens: fc.constantFrom(Uint32Array.of(0x1ffff), Uint32Array.of(5)),
    }, { requiredKeys: [] }),
  },
);

/** Prompts over three tokens, so that they often begin alike, and short answers. */
export const sequenceRequests: fc.Arbitrary<SequenceRequest> = fc.record({
  prompt: fc.array(fc.nat(2), { minLength: 1, maxLength: 6 }).map((ids) => Uint32Array.from(ids)),
  params: fc.record({
    maxTokens: fc.integer({ min: 1, max: 14 }),
    seed: fc.nat(3),
    stopTokenIds: fc.uniqueArray(fc.nat(FAKE_VOCAB_SIZE - 1), { maxLength: 1 }),
    adjustments,
  }).map(({ adjustments, ...params }) => samplingParams({ ...params, ...adjustments })),
});

/** Sequences of one request: some with prompts of their own, some several samples of one prompt. */
export const requestSequences: fc.Arbitrary<SequenceRequest[]> = fc.array(
  fc.tuple(sequenceRequests, fc.integer({ min: 1, max: 3 })),
  { minLength: 1, maxLength: 2 },
).map((prompts) =>
  prompts.flatMap(([{ prompt, params }, numSamples]) =>
    Array.from({ length: numSamples }, (_, i) => ({
      prompt: prompt.slice(),
      params: { ...params, seed: params.seed + i, maxTokens: 1 + (params.maxTokens + i) % 14 },
    }))
  )
);

/** No cache, or one of any kind. */
export const prefixCaches: fc.Arbitrary<RigOptions["prefixCache"]> = fc.option(
  fc.record({
    policy: fc.constantFrom(...EVICTION_POLICIES),
    forceMiss: fc.nat(4).map((pick) => pick === 0),
  }),
  { nil: undefined, freq: 4 },
);

/** Sizes at which every limit is met often. */
export const tinyRigs: fc.Arbitrary<RigOptions> = fc.record({
  numBlocks: fc.integer({ min: 1, max: 16 }),
  blockSize: fc.integer({ min: 1, max: 3 }),
  numWatermarkBlocks: fc.nat(2),
  maxModelLen: fc.integer({ min: 6, max: 24 }),
  maxNumSeqs: fc.integer({ min: 1, max: 6 }),
  maxNumBatchedTokens: fc.integer({ min: 1, max: 12 }),
  maxNumQueuedSeqs: fc.integer({ min: 1, max: 8 }),
});

/** Tiny rigs with and without a prefix cache. */
export const tinyCachingRigs: fc.Arbitrary<RigOptions> = fc.tuple(tinyRigs, prefixCaches).map(
  ([sizes, prefixCache]) => prefixCache === undefined ? sizes : { ...sizes, prefixCache },
);

/** Groups of several kinds, with how slabs are cut for them. */
export const cacheGroups: fc.Arbitrary<Pick<RigOptions, "groups" | "blocksPerSlab">> = fc
  .constantFrom(
    { groups: [FULL, windowOf(4)], blocksPerSlab: [1, 1] },
    { groups: [FULL, windowOf(5, 2)], blocksPerSlab: [3, 2] },
    { groups: [FULL, windowOf(3), chunksOf(6)], blocksPerSlab: [2, 1, 3] },
    { groups: [windowOf(6)], blocksPerSlab: [1] },
    { groups: [FULL, STATE], blocksPerSlab: [1, 1] },
    { groups: [FULL, windowOf(4), STATE], blocksPerSlab: [3, 2, 1] },
  );

/** Tiny rigs of models with several groups, or a window alone; most with a prefix cache. */
export const tinyGroupRigs: fc.Arbitrary<RigOptions> = fc.tuple(
  tinyCachingRigs,
  cacheGroups,
  fc.integer({ min: 1, max: 28 }),
).map(([sizes, groups, numBlocks]) => ({ ...sizes, ...groups, numBlocks }));

/**
 * A rig with host memory, mostly too small, where copying pays, or for long sequences alone, and
 * which loses what it holds now and then.
 */
export function withSwap(rigs: fc.Arbitrary<RigOptions>): fc.Arbitrary<RigOptions> {
  const swaps = fc.record({
    numSlabs: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.constant(100)),
    tokenMs: fc.constantFrom(10, 1),
    loseEvery: fc.constantFrom(2, 5, Infinity),
  });
  return fc.tuple(rigs, swaps).map(([rig, { numSlabs, tokenMs, loseEvery }]) => ({
    ...rig,
    loseEvery,
    swapSpace: { numSlabs, blockBytes: (rig.groups ?? [FULL]).map(() => 2 ** 20) },
    swapCosts: { tokenMs, storeMsPerMiB: 1, loadMsPerMiB: 1 },
  }));
}

/** Ways to schedule, the plainest among them. */
export const schedulings: fc.Arbitrary<SchedulingSettings> = fc.oneof(
  { weight: 2, arbitrary: fc.constant({}) },
  {
    weight: 1,
    arbitrary: fc.record({
      schedulingPolicy: fc.constantFrom("fcfs", "priority", "lpm", "fair"),
      longPrefillTokenThreshold: fc.integer({ min: 1, max: 5 }),
      maxLongPartialPrefills: fc.integer({ min: 1, max: 2 }),
      scheduleConservativeness: fc.constantFrom(0, 0.01, 1),
    }, { requiredKeys: ["schedulingPolicy"] }),
  },
);

/** Decode steps of one plan, mostly several. */
export const decodeSteps: fc.Arbitrary<Required<Pick<SchedulingSettings, "maxDecodeSteps">>> = fc
  .record({ maxDecodeSteps: fc.constantFrom(1, 1, 2, 3, 8) });

/** One thing that happens to a scheduler. */
export type SchedulerAction =
  | { readonly verb: "submit"; readonly request: Omit<GenerationRequest, "id"> }
  /** `pick` chooses among the requests so far; without `index`, all its sequences. */
  | { readonly verb: "abort"; readonly pick: number; readonly index: number | undefined }
  /** A turn, with whatever happens while its step is in flight. */
  | {
    readonly verb: "step";
    readonly inFlight: readonly SchedulerAction[];
    /** Since the step before. */
    readonly elapsedMs?: number;
  }
  /** Clears the prefix cache, preempting whoever runs; not while a step is in flight. */
  | { readonly verb: "reset" }
  /** Not while a step is in flight either; 0 blocks: as few as may be. */
  | { readonly verb: "resize"; readonly numBlocks: number };

const submits = fc.record({
  verb: fc.constant("submit" as const),
  request: fc.record({
    sequences: requestSequences,
    cacheScope: fc.constantFrom("a", "b"),
    owner: fc.constantFrom("x", "y", "z"),
    requestPriority: fc.integer({ min: -1, max: 1 }),
    timeoutMs: fc.constantFrom(5, 60, ...Array<number>(6).fill(1e6)),
    cacheRetention: fc.record({ priority: fc.nat(100), durationMs: fc.constantFrom(0, 1e9) }),
  }, { requiredKeys: ["sequences"] })
    .map((request) => request.owner === "z" ? { ...request, ownerPriority: 1 } : request),
});

/** A request as a policy takes it: others than `priority` refuse priorities of its own. */
export function requestFor(
  { schedulingPolicy }: SchedulingSettings,
  request: Omit<GenerationRequest, "id">,
): Omit<GenerationRequest, "id"> {
  const { requestPriority: _, ...plain } = request;
  return schedulingPolicy === "priority" ? request : plain;
}

const aborts = fc.record({
  verb: fc.constant("abort" as const),
  pick: fc.nat(20),
  index: fc.option(fc.nat(2), { nil: undefined }),
});
const steps = fc.record({
  verb: fc.constant("step" as const),
  inFlight: fc.array(fc.oneof(submits, aborts), { maxLength: 2 }),
  elapsedMs: fc.constantFrom(0, 0, 1, 5),
});

const resizes = fc.record({
  verb: fc.constant("resize" as const),
  numBlocks: fc.oneof(
    { weight: 3, arbitrary: fc.constant(0) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 24 }) },
  ),
});

/** Histories of submissions, aborts, turns and resizes. */
export const schedulerHistories: fc.Arbitrary<SchedulerAction[]> = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: submits },
    { weight: 1, arbitrary: aborts },
    { weight: 6, arbitrary: steps },
    { weight: 1, arbitrary: fc.constant({ verb: "reset" as const }) },
    { weight: 3, arbitrary: resizes },
  ),
  { maxLength: 40 },
);
