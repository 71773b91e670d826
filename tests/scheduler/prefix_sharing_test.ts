import { assert, assertEquals, assertThrows } from "@std/assert";
import { RequestError } from "../../src/core/errors.ts";
import type { GenerationRequest } from "../../src/core/generation.ts";
import type { SamplingParams } from "../../src/core/sampling_params.ts";
import type { KvDecision } from "../../src/core/kv_decision.ts";
import { promptIndices } from "../../src/scheduler/prefix_sharing.ts";
import { generateAlone } from "../support/paged_fake_runner.ts";
import { samplingParams } from "../support/requests.ts";
import { chunksOf, type RigOptions, SchedulerRig } from "../support/scheduler_rig.ts";

/** A rig with a prefix cache and blocks of 4. */
function cachingRig(options: RigOptions = {}): SchedulerRig {
  return new SchedulerRig({ blockSize: 4, prefixCache: {}, ...options });
}

/** A request of `numSamples` sequences with one prompt and seeds of their own. */
function samplesOf(
  id: string,
  prompt: readonly number[],
  overrides: Partial<SamplingParams> = {},
  numSamples = 1,
): GenerationRequest {
  const sequences = Array.from({ length: numSamples }, (_, i) => ({
    prompt: Uint32Array.from(prompt),
    params: samplingParams({ seed: i, ...overrides }),
  }));
  return { id, sequences };
}

function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

/** Runs a request to its end and checks that each sequence says what it says alone. */
function checkAnswers(rig: SchedulerRig, ...requests: GenerationRequest[]): void {
  rig.finish();
  for (const { id, sequences } of requests) {
    sequences.forEach(({ prompt, params }, index) =>
      assertEquals(rig.tokensOf(id, index), generateAlone(prompt, params, 1000).tokens)
    );
  }
}

/** Prompt tokens found, as each sequence reports it on its first event. */
function numCachedOf(rig: SchedulerRig, requestId: string): number[] {
  return rig.events.flatMap((event) =>
    event.requestId === requestId ? event.numCachedTokens ?? [] : []
  );
}

Deno.test("Scheduler computes only what no earlier prompt has left behind", () => {
  const rig = cachingRig();
  const [a, b] = [samplesOf("a", range(0, 9)), samplesOf("b", [...range(0, 8), 77, 78])];
  rig.add(a);
  rig.finish();
  rig.add(b);
  assertEquals(chunksOf(rig.step()), [[1, 8, 2]]);
  checkAnswers(rig, a, b);
  assertEquals([numCachedOf(rig, "a"), numCachedOf(rig, "b")], [[0], [8]]);
});

Deno.test("Scheduler lets a follow-up find the answer before it, too", () => {
  const rig = cachingRig();
  rig.add(samplesOf("a", range(0, 6), { maxTokens: 7 }));
  rig.finish();
  // 13 tokens, of which the last drawn was never computed.
  const followUp = samplesOf("b", [...range(0, 6), ...rig.tokensOf("a"), 5, 5]);
  rig.add(followUp);
  assertEquals(chunksOf(rig.step()), [[1, 12, 3]]);
  checkAnswers(rig, followUp);
});

Deno.test("Scheduler makes blocks findable by the step after the one that computes them", () => {
  const rig = cachingRig({ maxNumBatchedTokens: 8 });
  rig.add(samplesOf("a", range(0, 20)));
  rig.step();
  rig.add(samplesOf("b", [...range(0, 8), 50]));
  // The first goes on with all of the budget but one token less than a step for each.
  assertEquals(chunksOf(rig.step()), [[0, 8, 8]]);
  assertEquals(chunksOf(rig.step()), [[0, 16, 4], [1, 8, 1]]);
});

Deno.test("Scheduler lets the second of two identical cold prompts wait and hit", () => {
  const rig = cachingRig({ maxNumBatchedTokens: 10 });
  const requests = [samplesOf("a", range(0, 13)), samplesOf("b", range(0, 13))];
  rig.add(...requests);
  assertEquals(chunksOf(rig.step()), [[0, 0, 10]]);
  assertEquals(chunksOf(rig.step()), [[0, 10, 3]], "block 3 is on its way");
  assertEquals(chunksOf(rig.step()), [[0, 13, 1], [1, 12, 1]]);
  checkAnswers(rig, ...requests);
  assertEquals(numCachedOf(rig, "b"), [12]);
  const { numComputedPromptTokens, numQueriedTokens, numHitTokens } = rig.scheduler.stats;
  assertEquals([numComputedPromptTokens, numQueriedTokens, numHitTokens], [14, 26, 12]);
});

Deno.test("Scheduler lets others pass a prompt that waits for a shared prefix", () => {
  const rig = cachingRig();
  rig.add(samplesOf("a", range(0, 9)), samplesOf("b", range(0, 9)), samplesOf("c", range(50, 9)));
  assertEquals(chunksOf(rig.step()), [[0, 0, 9], [2, 0, 9]]);
  assertEquals(chunksOf(rig.step()), [[0, 9, 1], [2, 9, 1], [1, 8, 1]]);
});

Deno.test("Scheduler does not wait for what it cannot have: another scope, or forced misses", () => {
  for (const prefixCache of [{}, { forceMiss: true }]) {
    const rig = cachingRig({ prefixCache });
    const scope = "forceMiss" in prefixCache ? {} : { cacheScope: "b" };
    rig.add(samplesOf("a", range(0, 9)), { ...samplesOf("b", range(0, 9)), ...scope });
    assertEquals(chunksOf(rig.step()), [[0, 0, 9], [1, 0, 9]]);
    checkAnswers(rig, samplesOf("a", range(0, 9)), samplesOf("b", range(0, 9)));
    assertEquals(rig.scheduler.stats.numHitTokens, 0);
  }
});

Deno.test("Scheduler does not wait for a sequence that computes again what is cached", () => {
  const rig = cachingRig();
  rig.add(samplesOf("a", range(0, 8), { maxTokens: 1 }));
  rig.finish();
  rig.add(samplesOf("b", range(0, 8)), samplesOf("c", [...range(0, 8), 77]));
  assertEquals(chunksOf(rig.step()), [[1, 4, 4], [2, 8, 1]]);
});

Deno.test("Scheduler does not wait for blocks that are computed and cannot be found", () => {
  const rig = cachingRig();
  rig.add(samplesOf("a", range(0, 8), { maxTokens: 1 }));
  rig.finish();
  // The last block of an aligned prompt is computed again, so what follows is findable at the end.
  rig.add(samplesOf("b", range(0, 8), { maxTokens: 20 }));
  while (rig.tokensOf("b").length < 8) rig.step();
  const prompt = [...range(0, 8), ...rig.tokensOf("b").slice(0, 4), ...range(50, 6)];
  rig.add(samplesOf("c", prompt));
  assertEquals(chunksOf(rig.step()), [[1, 15, 1], [2, 8, 10]]);
});

Deno.test("Scheduler does not wait for a sequence that was aborted", () => {
  const rig = cachingRig({ maxNumBatchedTokens: 4 });
  rig.add(samplesOf("a", range(0, 20)), samplesOf("b", range(0, 20)));
  rig.step();
  rig.step(() => rig.scheduler.abort("a"));
  assertEquals(chunksOf(rig.step()), [[1, 8, 4]], "what a has computed is found");
  checkAnswers(rig, samplesOf("b", range(0, 20)));
});

Deno.test("Scheduler lets a preempted sequence find its own blocks again", () => {
  const rig = cachingRig({ numBlocks: 8 });
  const requests = [
    samplesOf("a", range(0, 12), { maxTokens: 6 }),
    samplesOf("b", range(20, 12), { maxTokens: 10 }),
  ];
  rig.add(...requests);
  while (rig.scheduler.stats.numPreemptions === 0) rig.step();
  const computed = rig.scheduler.stats.numComputedPromptTokens;
  assertEquals(computed, 24);
  checkAnswers(rig, ...requests);
  // All but the blocks that the survivor took are found again.
  assert(rig.scheduler.stats.numComputedPromptTokens < computed + 12);
  const { numQueriedTokens, numHitTokens, numRequeriedTokens, numRehitTokens } = rig.scheduler
    .stats;
  assertEquals([numQueriedTokens, numHitTokens], [24, 0], "only first admissions count");
  assert(numRequeriedTokens > 12 && numRehitTokens > 0 && numRehitTokens % 4 === 0);
  assert(numRehitTokens < numRequeriedTokens);
});

Deno.test("Scheduler tells tokens that were evicted of late from those never seen and the last block's", () => {
  const missesOf = ({ scheduler: { stats } }: SchedulerRig) => [
    stats.numQueriedTokens,
    stats.numHitTokens,
    stats.numEvictedTokens,
    stats.numUnsharableTokens,
  ];
  const rig = cachingRig({ numBlocks: 6 });
  const ask = (prompt: number[]) => {
    rig.add(samplesOf(`r${rig.events.length}`, prompt, { maxTokens: 1 }));
    rig.finish();
  };
  ask(range(0, 13));
  assertEquals(missesOf(rig), [13, 0, 0, 1]);
  ask(range(50, 16));
  assertEquals(missesOf(rig), [29, 0, 0, 5], "the last of four blocks is never found");
  assertEquals(rig.scheduler.stats.numEvictedBlocks, 1);
  ask(range(0, 17));
  assertEquals(missesOf(rig), [46, 8, 4, 6], "two blocks are left of three, the fourth is new");
  const [told, ...others] = rig.events.flatMap(({ evicted }) => evicted ?? []);
  assertEquals([told?.numTokens, others.length], [4, 0]);
  assert(told!.agoMs >= 0);
  rig.scheduler.resetPrefixCache(false);
  const { numResetBlocks, numCachedBlocks, numEvictedBlocks } = rig.scheduler.stats;
  assert(numResetBlocks > 0 && numCachedBlocks === 0);
  ask(range(0, 13));
  assertEquals(missesOf(rig), [59, 8, 4, 7], "what a reset has dropped was not evicted");
  assertEquals(rig.scheduler.stats.numEvictedBlocks, numEvictedBlocks);
  rig.add({ ...samplesOf("w", range(0, 9)), isReheat: true });
  rig.finish();
  assertEquals(missesOf(rig), [59, 8, 4, 7], "a warm-up's look-ups are not counted");
});

Deno.test("Scheduler counts look-ups once, at the first admission (S79)", () => {
  const rig = cachingRig({ numBlocks: 6 });
  rig.add(samplesOf("a", range(0, 17), { maxTokens: 4 }));
  rig.step();
  rig.add(samplesOf("b", [...range(0, 8), ...range(90, 5)], { maxTokens: 1 }));
  rig.step();
  rig.step();
  assertEquals(rig.scheduler.stats.numWaiting, 1, "b does not fit");
  assertEquals(rig.scheduler.stats.numQueriedTokens, 17);
  rig.finish();
  const { numQueriedTokens, numHitTokens } = rig.scheduler.stats;
  assertEquals([numQueriedTokens, numHitTokens], [17 + 13, 8]);
});

Deno.test("Scheduler without a prefix cache counts no look-ups (S79)", () => {
  const rig = new SchedulerRig();
  rig.add(samplesOf("a", range(0, 9)), samplesOf("b", range(0, 9)));
  assertEquals(chunksOf(rig.step()), [[0, 0, 9], [1, 0, 9]]);
  rig.finish();
  const { numQueriedTokens, numHitTokens, numCachedBlocks } = rig.scheduler.stats;
  assertEquals([numQueriedTokens, numHitTokens, numCachedBlocks], [0, 0, 0]);
});

for (const [title, caching] of [["without", {}], ["with", { prefixCache: {} }]] as const) {
  Deno.test(`Scheduler computes the prompt of n samples once, ${title} a prefix cache`, () => {
    const decisions: KvDecision[] = [];
    const onDecision = (decision: KvDecision) => decisions.push(decision);
    const rig = new SchedulerRig({ blockSize: 4, onDecision, ...caching });
    const request = samplesOf("a", range(0, 11), { maxTokens: 5 }, 3);
    rig.add(request);
    assertEquals(chunksOf(rig.step()), [[0, 0, 11]]);
    const batch = rig.step()!;
    assertEquals(chunksOf(batch), [[0, 11, 1], [1, 10, 1], [2, 10, 1]]);
    const [tableA, tableB, tableC] = batch.chunks.map(({ blockTables }) => blockTables[0]);
    assertEquals([tableB!.slice(0, 2), tableC!.slice(0, 2)], [
      tableA!.slice(0, 2),
      tableA!.slice(0, 2),
    ]);
    assertEquals(batch.copies, [
      { group: 0, from: tableA![2]!, to: tableB![2]!, numTokens: 2 },
      { group: 0, from: tableA![2]!, to: tableC![2]!, numTokens: 2 },
    ]);
    assertEquals(decisions.filter(({ type }) => type === "copy").length, 2);
    checkAnswers(rig, request);
    assertEquals(numCachedOf(rig, "a"), [0, 10, 10]);
    assertEquals(rig.scheduler.stats.numComputedPromptTokens, 11 + 1 + 1);
  });
}

Deno.test("Scheduler copies a whole last block too, since each fork writes its last position", () => {
  const rig = cachingRig();
  const request = samplesOf("a", range(0, 8), { maxTokens: 3 }, 2);
  rig.add(request);
  rig.step();
  const { copies } = rig.step()!;
  assertEquals(copies?.map(({ numTokens }) => numTokens), [3]);
  checkAnswers(rig, request);
});

Deno.test("Scheduler copies nothing where the fork starts a block of its own", () => {
  const rig = cachingRig();
  const request = samplesOf("a", range(0, 9), { maxTokens: 3 }, 2);
  rig.add(request);
  rig.step();
  const batch = rig.step()!;
  assertEquals([batch.copies, chunksOf(batch)], [undefined, [[0, 9, 1], [1, 8, 1]]]);
  checkAnswers(rig, request);
});

Deno.test("Scheduler keeps the source of a copy until the step is committed", () => {
  const rig = cachingRig({ numBlocks: 12 });
  const request = samplesOf("a", range(0, 6), { maxTokens: 9 }, 2);
  rig.add(request);
  rig.step();
  rig.step(() => {
    const { numInUse } = rig.blocks;
    rig.scheduler.abort("a", 0);
    assertEquals(rig.blocks.numInUse, numInUse);
  });
  assertEquals(rig.tokensOf("a", 1).length, 1);
  rig.finish();
  assertEquals(rig.endOf("a", 1)?.finishReason, "length");
});

Deno.test("Scheduler lets samples start by themselves when the first has ended already", () => {
  const rig = cachingRig();
  const request = samplesOf("a", range(0, 11), { maxTokens: 1 }, 3);
  rig.add(request);
  assertEquals(chunksOf(rig.step()), [[0, 0, 11]]);
  assertEquals(chunksOf(rig.step()), [[1, 8, 3]], "the third now waits for the second");
  checkAnswers(rig, request);
});

Deno.test("promptIndices() numbers sequences by the first with an equal prompt", () => {
  const prompts = [[1, 2], [1], [1, 2], [1, 3], [1], [1, 2, 3]];
  const sequences = prompts.flatMap((prompt) => samplesOf("a", prompt).sequences);
  assertEquals(promptIndices(sequences), [0, 1, 0, 3, 1, 5]);
});

Deno.test("Scheduler.resetPrefixCache() refuses while blocks are held, or preempts in order (S21)", () => {
  const rig = cachingRig({ maxNumSeqs: 10 });
  const requests = range(0, 11).map((i) => samplesOf(`r${i}`, range(100 * i, 9)));
  rig.add(...requests);
  rig.step();
  const before = rig.scheduler.stats;
  const { data } = assertThrows(() => rig.scheduler.resetPrefixCache(false), RequestError);
  assertEquals([data.status, data.details], [409, { n_sequences: 10 }]);
  assertEquals(rig.scheduler.stats, before);
  rig.scheduler.resetPrefixCache(true);
  const { numRunning, numWaiting, numFreeBlocks, numCachedBlocks } = rig.scheduler.stats;
  assertEquals([numRunning, numWaiting, numFreeBlocks, numCachedBlocks], [0, 11, 200, 0]);
  assertEquals(chunksOf(rig.step()).map(([id]) => id), range(0, 10));
  checkAnswers(rig, ...requests);
  rig.scheduler.resetPrefixCache(false);
  assertEquals(rig.blocks.numFree, 200);
});

Deno.test("Scheduler ends a sequence that pins leave no room for, with the numbers", () => {
  const rig = cachingRig({ numBlocks: 4, prefixCache: { maxPinnedShare: 1 } });
  const prompt = Uint32Array.from(range(0, 8));
  rig.add({ id: "a", sequences: [{ prompt, params: samplingParams({ maxTokens: 1 }) }] });
  rig.finish();
  assertEquals(rig.blocks.pins!.pin("system", "", prompt), 2);
  rig.add(samplesOf("b", range(50, 12)), samplesOf("c", [...range(0, 8), 4], { maxTokens: 1 }));
  rig.finish();
  const { finishReason, error } = rig.endOf("b")!;
  assertEquals([finishReason, error?.code], ["error", "kv_cache_exceeded"]);
  assertEquals(error?.details, { n_tokens: 12, n_kv_cache_tokens: 16, n_pinned_tokens: 8 });
  assertEquals(rig.endOf("c")?.finishReason, "length");
});

Deno.test("Scheduler tells how many tokens are pinned, in however many cache groups", () => {
  const heads = { numKvHeads: 1, headDim: 4 };
  const rig = cachingRig({
    numBlocks: 8,
    groups: [{ kind: "full", ...heads }, { kind: "sliding_window", window: 8, ...heads }],
    prefixCache: { maxPinnedShare: 1 },
  });
  const prompt = Uint32Array.from(range(0, 8));
  rig.add({ id: "a", sequences: [{ prompt, params: samplingParams({ maxTokens: 1 }) }] });
  rig.finish();
  assertEquals(rig.blocks.pins!.pin("system", "", prompt), 4);
  assertEquals(rig.blocks.pins!.numTokens, 8);
  rig.add(samplesOf("b", range(50, 12)));
  rig.finish();
  assertEquals(rig.endOf("b")?.error?.details?.n_pinned_tokens, 8);
});

Deno.test("Scheduler says who waits and why", () => {
  const decisions: KvDecision[] = [];
  const rig = cachingRig({
    numBlocks: 6,
    onDecision: (decision) => decisions.push(decision),
  });
  rig.add(samplesOf("a", range(0, 9), {}, 2), samplesOf("b", range(0, 9)));
  rig.add(samplesOf("c", range(50, 17)));
  rig.step();
  const waits = decisions.flatMap((decision) =>
    decision.type === "wait" && "numFree" in decision
      ? [[decision.sequenceId, decision.reason, decision.numNeeded]]
      : []
  );
  assertEquals(waits, [[1, "sibling_prompt", 3], [2, "shared_prefix", 3], [3, "blocks", 5]]);
  const types = decisions.map(({ type }) => type);
  assertEquals(types, [
    "queue",
    "queue",
    "queue",
    "queue",
    "allocate",
    "admit",
    "wait",
    "wait",
    "wait",
    "first_token",
  ]);
  // The head that lacks blocks is not overtaken.
  assertEquals([rig.scheduler.stats.numWaiting, rig.scheduler.stats.numDeferred], [3, 2]);
});
