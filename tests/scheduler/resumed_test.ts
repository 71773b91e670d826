import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { RequestError } from "../../src/core/errors.ts";
import { describeDecision } from "../../src/core/describe_decision.ts";
import type { KvDecision } from "../../src/core/kv_decision.ts";
import type { GenerationRequest } from "../../src/core/generation.ts";
import { KeptRequest } from "../../src/engine/kept_request.ts";
import {
  requestFor,
  requestSequences,
  schedulings,
  tinyCachingRigs,
  tinyGroupRigs,
} from "../support/arbitraries.ts";
import { fakeGrammar, FakeMatchers } from "../support/fake_matchers.ts";
import { FULL } from "../support/kv_groups.ts";
import { generateAlone } from "../support/paged_fake_runner.ts";
import { requestOf, samplingParams } from "../support/requests.ts";
import { runs } from "../support/runs.ts";
import { chunksOf, type RigOptions, SchedulerRig } from "../support/scheduler_rig.ts";

/** A rig that takes over at `nowMs` what is unfinished in another one, in its order. */
function successor(
  rig: SchedulerRig,
  requests: readonly GenerationRequest[],
  options: RigOptions = rig.options,
): SchedulerRig {
  const next = new SchedulerRig(options);
  next.nowMs = rig.nowMs;
  for (const request of requests) {
    const kept = new KeptRequest(request, 0);
    for (const event of rig.events) if (event.requestId === request.id) kept.take(event);
    if (kept.numUnfinished > 0) next.add(kept.resumed(rig.nowMs));
  }
  return next;
}

function twoSamples(id: string, maxTokens: readonly [number, number]): GenerationRequest {
  const prompt = Uint32Array.of(1, 2, 3, 1, 2);
  return {
    id,
    sequences: maxTokens.map((maxTokens, seed) => ({
      prompt,
      params: samplingParams({ maxTokens, seed, temperature: 1, frequencyPenalty: 0.5 }),
    })),
  };
}

Deno.test("a resumed request goes on behind its tokens, and reports and counts none of them again", () => {
  const rig = new SchedulerRig({ prefixCache: {} });
  const request = twoSamples("a", [2, 9]);
  rig.add(request);
  for (let i = 0; i < 4; i++) rig.step();
  assertEquals(rig.endOf("a", 0)?.finishReason, "length");
  const next = successor(rig, [request]);
  assertEquals(chunksOf(next.step()), [[1, 0, 8]], "one sequence is left, and drew 3 tokens");
  next.finish();
  const { prompt, params } = request.sequences[1]!;
  const tokens = [...rig.tokensOf("a", 1), ...next.tokensOf("a", 1)];
  assertEquals(tokens, generateAlone(prompt, params, 1000).tokens);
  assertEquals(new Set(next.events.map(({ index }) => index)), new Set([1]));
  assertEquals(next.events.map(({ numCachedTokens }) => numCachedTokens), Array(6).fill(undefined));
  const { numPromptTokens, numGeneratedTokens, numQueriedTokens } = next.scheduler.stats;
  assertEquals([numPromptTokens, numGeneratedTokens, numQueriedTokens], [0, 6, 0]);
  const { numRequeriedTokens, numRecomputedTokens, numPreemptions } = next.scheduler.stats;
  assertEquals([numRequeriedTokens, numRecomputedTokens, numPreemptions], [8, 7, 0]);
});

Deno.test("a resumed request is told from a new one in the log of decisions", () => {
  const log: string[] = [];
  const onDecision = (decision: KvDecision) => {
    if (decision.type === "queue") log.push(describeDecision({ ...decision, step: 0 }));
  };
  const rig = new SchedulerRig({ onDecision });
  const requests = [requestOf("a", 3), requestOf("b", 5)];
  rig.add(requests[0]!);
  rig.step();
  rig.step();
  rig.add(requests[1]!);
  successor(rig, requests);
  assertEquals(log, [
    "step 0: a[0] queues with 3 tokens",
    "step 0: b[0] queues with 5 tokens",
    "step 0: a[0] queues with 5 tokens again: its engine was lost after 2 tokens of its answer",
    "step 0: b[0] queues with 5 tokens again: its engine was lost after 0 tokens of its answer",
  ]);
});

Deno.test("a resumed request is followed through its grammar from the beginning", () => {
  const matchers = new FakeMatchers();
  const rig = new SchedulerRig({ matchers });
  const [plain] = requestOf("a", 3, { maxTokens: 8 }).sequences;
  const request = { id: "a", sequences: [{ ...plain!, grammar: fakeGrammar("2") }] };
  rig.add(request);
  for (let i = 0; i < 3; i++) rig.step();
  const alone = new SchedulerRig({ matchers });
  alone.add(request);
  alone.finish();
  const next = successor(rig, [request]);
  next.finish();
  assertEquals([...rig.tokensOf("a"), ...next.tokensOf("a")], alone.tokensOf("a"));
});

Deno.test("a resumed request whose grammar takes its tokens no more is refused, and leaves nothing open", () => {
  const matchers = new FakeMatchers();
  const rig = new SchedulerRig({ matchers });
  const [plain] = requestOf("a", 3, { maxTokens: 8 }).sequences;
  const grammars = ["2", "9"].map(fakeGrammar);
  const sequences = grammars.map((grammar) => ({ ...plain!, grammar }));
  const resumed = {
    sequences: [[4, 5], [4, 5, 6]].map((tokens) => {
      return { tokens: Uint32Array.from(tokens), hasEnded: false };
    }),
    elapsedMs: 0,
  };
  const error = assertThrows(() => rig.add({ id: "a", sequences, resumed }), RequestError);
  assertStringIncludes(error.message, "no further token");
  assertEquals([matchers.numMade, matchers.numOpen, rig.scheduler.hasWork], [2, 0, false]);
});

Deno.test("a resumed request keeps the deadline of its first arrival", () => {
  const rig = new SchedulerRig();
  const request = { ...requestOf("a", 3, { maxTokens: 50 }), timeoutMs: 100 };
  rig.add(request);
  rig.nowMs = 60;
  rig.step();
  const next = successor(rig, [request]);
  next.nowMs = 99;
  next.step();
  assertEquals(next.endOf("a"), undefined);
  next.nowMs = 100;
  next.step();
  assertEquals(next.endOf("a")?.error?.details, { timeout_seconds: 0.1, n_tokens: 2 });
});

Deno.test("resumed requests run in their order, and are taken whatever the queue's limit", () => {
  const options = { maxNumSeqs: 2, maxNumQueuedSeqs: 2 };
  const rig = new SchedulerRig(options);
  const requests = ["a", "b", "c", "d"].map((id) => requestOf(id, 2, { maxTokens: 6 }));
  rig.add(requests[0]!, requests[1]!);
  rig.step();
  rig.add(requests[2]!, requests[3]!);
  rig.step();
  const next = successor(rig, requests);
  assertEquals(next.scheduler.stats.numWaiting, 4);
  const error = assertThrows(() => next.add(requestOf("late", 1)), RequestError);
  assertStringIncludes(error.message, "4 sequences wait, 1 more would exceed the limit of 2");
  next.finish();
  const ends = next.events.filter(({ finishReason }) => finishReason !== undefined);
  assertEquals(ends.map(({ requestId }) => requestId), ["a", "b", "c", "d"]);
});

Deno.test("a search is begun anew, and only if it has not ended", () => {
  const beamSearch = { width: 2, lengthPenalty: 1, earlyStopping: false };
  const [first] = requestOf("a", 3, { maxTokens: 4 }).sequences;
  const [second] = requestOf("a", 5, { maxTokens: 9 }).sequences;
  const request = { id: "a", sequences: [first!, first!, second!, second!], beamSearch };
  const rig = new SchedulerRig();
  rig.add(request);
  while (rig.endOf("a", 1) === undefined) rig.step();
  assertEquals(rig.tokensOf("a", 2), []);
  const next = successor(rig, [request]);
  next.finish();
  const whole = new SchedulerRig();
  whole.add(request);
  whole.finish();
  for (
    const [index, tokens] of [[], [], whole.tokensOf("a", 2), whole.tokensOf("a", 3)].entries()
  ) {
    assertEquals(next.tokensOf("a", index), tokens);
  }
});

Deno.test("what is read of a prompt is read once, before its first token or again with it", () => {
  const [plain] = requestOf("a", 6, { maxTokens: 4 }).sequences;
  const request = { id: "a", sequences: [{ ...plain!, readout: { numLogprobs: 0 } }] };
  for (const numSteps of [1, 3]) {
    const rig = new SchedulerRig({ maxNumBatchedTokens: 4 });
    rig.add(request);
    for (let i = 0; i < numSteps; i++) rig.step();
    const next = successor(rig, [request]);
    next.finish();
    const reports = [...rig.events, ...next.events].filter(({ prompt }) => prompt !== undefined);
    assertEquals(reports.length, 1);
  }
});

/** Requests that arrive at a step each, and the step at which all is lost. */
const histories = fc.record({
  requests: fc.array(
    fc.record({
      sequences: requestSequences,
      owner: fc.constantFrom("x", "y"),
      requestPriority: fc.integer({ min: -1, max: 1 }),
    }),
    { minLength: 1, maxLength: 5 },
  ),
  losses: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }),
});

function checkResumption(sizes: fc.Arbitrary<RigOptions>, seed: number): void {
  const rigs = fc.tuple(sizes, schedulings).map(([rig, scheduling]) => ({ ...rig, ...scheduling }));
  let numResumed = 0;
  fc.assert(
    fc.property(rigs, histories, (sizes, { requests: asked, losses }) => {
      const options = { ...sizes, maxNumQueuedSeqs: 100 };
      const requests: GenerationRequest[] = [];
      let rig = new SchedulerRig(options);
      for (const [i, request] of asked.entries()) {
        const whole = { id: `r${i}`, ...requestFor(options, request) };
        try {
          rig.add(whole);
          requests.push(whole);
        } catch (error) {
          assert(error instanceof RequestError);
        }
      }
      for (const numSteps of losses) {
        for (let i = 0; i < numSteps && rig.scheduler.hasWork; i++) rig.step();
        const before = rig.events;
        rig = successor(rig, requests);
        numResumed += before.length;
        rig.events.push(...before);
      }
      rig.finish();
      for (const { id, sequences } of requests) {
        for (const [index, { prompt, params }] of sequences.entries()) {
          const tokens = rig.tokensOf(id, index);
          const [cache = FULL] = options.groups ?? [];
          const alone = generateAlone(prompt, params, rig.options.maxModelLen, { cache });
          const ends = rig.events.filter((event) =>
            event.requestId === id && event.index === index && event.finishReason !== undefined
          );
          assertEquals(ends.length, 1);
          const { finishReason, error } = ends[0]!;
          if (finishReason === "error") assertEquals(error?.code, "kv_cache_exceeded");
          else assertEquals({ tokens, finishReason: finishReason! }, alone);
        }
      }
    }),
    { seed, numRuns: runs(1000) },
  );
  assert(numResumed > runs(1000), `only ${numResumed} tokens were there before a loss`);
}

Deno.test("Scheduler resumes any requests after any losses with the tokens that they have alone", () => {
  checkResumption(tinyCachingRigs, 31);
});

Deno.test("Scheduler does so with several cache groups", () => {
  checkResumption(tinyGroupRigs, 32);
});
