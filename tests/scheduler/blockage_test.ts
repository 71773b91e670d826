import fc from "fast-check";
import { assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import type { SchedulingPolicyName } from "../../src/core/engine_config.ts";
import type { GenerationRequest } from "../../src/core/generation.ts";
import { InvariantError } from "../../src/base/invariant.ts";
import { BeamGroup } from "../../src/scheduler/beam_group.ts";
import { SampledSequence } from "../../src/scheduler/sampled_sequence.ts";
import { requestOf, samplingParams } from "../support/requests.ts";
import { runs } from "../support/runs.ts";
import { type RigOptions, SchedulerRig } from "../support/scheduler_rig.ts";

/** Tokens that no other prompt of a test has. */
function promptOf(id: string, first: number, length: number, n = 1): GenerationRequest {
  const prompt = Uint32Array.from({ length }, (_, i) => first + i);
  const params = samplingParams({ maxTokens: 2 });
  return { id, sequences: Array.from({ length: n }, () => ({ prompt, params })) };
}

function searchOf(id: string): GenerationRequest {
  const { sequences: [one] } = requestOf(id, 4);
  const beamSearch = { width: 2, lengthPenalty: 1, earlyStopping: true };
  return { id, sequences: [one!, one!], beamSearch };
}

/** Replaces a getter of a class until it is disposed of. */
function replaced(prototype: object, name: string, descriptor: PropertyDescriptor) {
  const original = Object.getOwnPropertyDescriptor(prototype, name)!;
  Object.defineProperty(prototype, name, { ...original, ...descriptor });
  return { [Symbol.dispose]: () => void Object.defineProperty(prototype, name, original) };
}

interface Case {
  readonly name: string;
  readonly options: RigOptions;
  readonly requests: readonly GenerationRequest[];
  /** What a fault does to the engine once the first of them runs. */
  readonly fault?: () => Disposable;
  readonly words: string;
}

const CATCHING_UP: PropertyDescriptor = { get: () => true };

const CASES: readonly Case[] = [
  {
    name: "blocks",
    options: { numBlocks: 4 },
    requests: [promptOf("a", 0, 6), promptOf("b", 100, 4)],
    words: "b[0] waits: 2 blocks needed, 0 free, 0 evictable",
  },
  {
    name: "the watermark",
    options: { numBlocks: 6, numWatermarkBlocks: 2 },
    requests: [promptOf("a", 0, 6), promptOf("b", 100, 4)],
    words: "b[0] waits: 2 blocks needed, 2 free, 0 evictable, 2 kept for what runs to grow",
  },
  {
    name: "seats",
    options: { maxNumSeqs: 1 },
    requests: [promptOf("a", 0, 6), promptOf("b", 100, 4)],
    words: "b[0] waits: 1 sequences of a step needed, 1 of 1 taken (--max-num-seqs)",
  },
  {
    name: "a prefix that is computed",
    options: { prefixCache: {}, maxNumBatchedTokens: 4 },
    requests: [promptOf("a", 0, 9), promptOf("b", 0, 9)],
    words: "b[0] waits: another sequence computes a prefix it can share (5 blocks needed, ",
  },
  {
    name: "a sibling's prompt",
    options: { maxNumBatchedTokens: 4 },
    requests: [promptOf("a", 0, 9, 2)],
    words: "a[1] waits: its sibling computes the prompt for both (5 blocks needed, ",
  },
  {
    name: "long prompts",
    options: { maxNumBatchedTokens: 8, longPrefillTokenThreshold: 4 },
    requests: [promptOf("a", 0, 30), promptOf("b", 100, 20)],
    words: "b[0] waits: 1 of 1 prompts of more than 4 tokens are computed",
  },
  {
    name: "states that are kept",
    options: {},
    requests: [promptOf("a", 0, 6), promptOf("b", 100, 4)],
    fault: () => replaced(SampledSequence.prototype, "isCatchingUp", CATCHING_UP),
    words: "b[0] waits: sequence 0 computes its prompt up to where its states are kept",
  },
  {
    name: "beams that are computed again",
    options: {},
    requests: [searchOf("a"), promptOf("b", 100, 4)],
    fault: () => replaced(BeamGroup.prototype, "isCatchingUp", CATCHING_UP),
    words: "b[0] waits: the beams of sequence 0 are computed again first",
  },
];

for (const { name, options, requests, fault, words } of CASES) {
  Deno.test(`Scheduler fails where nothing advances, and says what blocks it: ${name}`, () => {
    const rig = new SchedulerRig(options);
    rig.add(requests[0]!);
    rig.step();
    rig.add(...requests.slice(1));
    using _fault = fault?.();
    using _sampled = replaced(SampledSequence.prototype, "addTo", { value: () => {} });
    using _search = replaced(BeamGroup.prototype, "addTo", { value: () => {} });
    const { message } = assertThrows(() => rig.scheduler.schedule(), InvariantError);
    assertMatch(
      message,
      /^no sequence advances or ends: [12] running, 1 waiting, \d+ of \d+ blocks/,
    );
    assertStringIncludes(message, words);
    assertEquals(message.endsWith(rig.scheduler.describeQueue()), true);
  });
}

Deno.test("Scheduler.describeQueue() has the numbers where nothing waits, or nothing keeps it", () => {
  const rig = new SchedulerRig({ numBlocks: 8 });
  rig.add(promptOf("a", 0, 6));
  const counts = (running: number, waiting: number, free: number) =>
    `${running} running, ${waiting} waiting, ${free} of 8 blocks free, 0 evictable`;
  assertEquals(rig.scheduler.describeQueue(), counts(0, 1, 8));
  rig.step();
  assertEquals(rig.scheduler.describeQueue(), counts(1, 0, 5));
});

Deno.test("Scheduler.describeQueue() changes no plan, under any policy, whenever it is asked", () => {
  const load = fc.array(
    fc.record({
      at: fc.nat(12),
      first: fc.nat(3),
      length: fc.integer({ min: 1, max: 12 }),
      maxTokens: fc.integer({ min: 1, max: 6 }),
      requestPriority: fc.nat(2),
      owner: fc.nat(2),
      isAborted: fc.boolean(),
    }),
    { maxLength: 20 },
  );
  const plansOf = (requests: typeof load extends fc.Arbitrary<infer T> ? T : never, options: {
    readonly schedulingPolicy: SchedulingPolicyName;
    readonly isAsked: boolean;
  }) => {
    const rig = new SchedulerRig({
      ...{ numBlocks: 12, maxNumSeqs: 3, maxNumBatchedTokens: 8, prefixCache: {} },
      scheduleConservativeness: 1,
      schedulingPolicy: options.schedulingPolicy,
    });
    const ask = () => options.isAsked ? rig.scheduler.describeQueue() : "";
    for (let step = 0; step <= 12 || rig.scheduler.hasWork; step++) {
      requests.forEach(({ at, first, length, maxTokens, owner, ...other }, i) => {
        if (at === step - 1 && other.isAborted) rig.scheduler.abort(`${i}`);
        if (at !== step) return;
        const prompt = Uint32Array.from({ length }, (_, j) => 10 * first + j);
        const sequences = [{ prompt, params: samplingParams({ maxTokens }) }];
        const priority = options.schedulingPolicy === "priority"
          ? { requestPriority: other.requestPriority }
          : {};
        rig.add({ id: `${i}`, sequences, owner: `${owner}`, ...priority });
        ask();
      });
      rig.step(ask);
      ask();
    }
    return rig.runner.batches;
  };
  for (const schedulingPolicy of ["fcfs", "priority", "lpm", "fair"] as const) {
    fc.assert(
      fc.property(load, (requests) =>
        assertEquals(
          plansOf(requests, { schedulingPolicy, isAsked: true }),
          plansOf(requests, { schedulingPolicy, isAsked: false }),
        )),
      { numRuns: runs(50) },
    );
  }
});
