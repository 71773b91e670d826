import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { InvariantError } from "../../src/base/invariant.ts";
import { RequestError } from "../../src/core/errors.ts";
import type { KvDecision, WaitCause } from "../../src/core/kv_decision.ts";
import { requestOf, samplingParams } from "../support/requests.ts";
import { chunksOf, SchedulerRig } from "../support/scheduler_rig.ts";

Deno.test("Scheduler.schedule() takes every prompt whole when the budget allows", () => {
  const rig = new SchedulerRig();
  for (let i = 0; i < 10; i++) rig.add(requestOf(`r${i}`, i + 1));
  const batch = rig.step();
  assertEquals(chunksOf(batch), Array.from({ length: 10 }, (_, i) => [i, 0, i + 1]));
  assertEquals([batch!.step, batch!.numTokens], [0, 55]);
  assertEquals([rig.scheduler.stats.numRunning, rig.scheduler.stats.numWaiting], [10, 0]);
});

Deno.test("Scheduler.schedule() cuts a long prompt by the budget and draws with its last chunk", () => {
  const rig = new SchedulerRig({ maxNumBatchedTokens: 4 });
  rig.add(requestOf("a", 10));
  assertEquals(chunksOf(rig.step()), [[0, 0, 4]]);
  assertEquals(chunksOf(rig.step()), [[0, 4, 4]]);
  assertEquals(rig.events, []);
  assertEquals(chunksOf(rig.step()), [[0, 8, 2]]);
  assertEquals(rig.tokensOf("a").length, 1);
  assertEquals(chunksOf(rig.step()), [[0, 10, 1]]);
});

Deno.test("Scheduler.schedule() lets running answers go before a prompt in the same step", () => {
  const rig = new SchedulerRig({ maxNumBatchedTokens: 4 });
  rig.add(requestOf("a", 2));
  rig.step();
  rig.add(requestOf("b", 6), requestOf("c", 1));
  assertEquals(chunksOf(rig.step()), [[0, 2, 1], [1, 0, 3]]);
  assertEquals(chunksOf(rig.step()), [[0, 3, 1], [1, 3, 3]]);
  assertEquals(chunksOf(rig.step()), [[0, 4, 1], [1, 6, 1], [2, 0, 1]]);
});

Deno.test("Scheduler.schedule() seats at most maxNumSeqs", () => {
  const rig = new SchedulerRig({ maxNumSeqs: 2 });
  rig.add(requestOf("a", 1, { maxTokens: 1 }), requestOf("b", 1), requestOf("c", 1));
  assertEquals(chunksOf(rig.step()).map(([id]) => id), [0, 1]);
  assertEquals(chunksOf(rig.step()).map(([id]) => id), [1, 2]);
});

Deno.test("Scheduler.schedule() seats no more sequences than a step has tokens", () => {
  const rig = new SchedulerRig({ maxNumSeqs: 8, maxNumBatchedTokens: 2 });
  rig.add(requestOf("a", 1), requestOf("b", 1), requestOf("c", 1, { maxTokens: 1 }));
  for (let step = 0; step < 4; step++) {
    assertEquals(chunksOf(rig.step()).map(([id]) => id), [0, 1], "both advance in every step");
  }
  assertEquals(chunksOf(rig.step()), [[2, 0, 1]]);
});

Deno.test("Scheduler lets a short answer end while a long one runs", () => {
  const rig = new SchedulerRig();
  rig.add(requestOf("long", 3, { maxTokens: 500 }));
  rig.step();
  rig.add(requestOf("short", 3, { maxTokens: 2 }));
  rig.step();
  rig.step();
  assertEquals(rig.endOf("short")?.finishReason, "length");
  assertEquals(rig.endOf("long"), undefined);
});

Deno.test("Scheduler.schedule() admits a prompt only when the whole of it fits", () => {
  const rig = new SchedulerRig({ numBlocks: 5, blockSize: 2, maxNumBatchedTokens: 8 });
  rig.add(requestOf("a", 6, { maxTokens: 2 }), requestOf("b", 6), requestOf("c", 1));
  assertEquals(chunksOf(rig.step()), [[0, 0, 6]], "nobody overtakes the first that waits");
  assertEquals(rig.scheduler.stats.numFreeBlocks, 2);
  rig.step();
  assertEquals(chunksOf(rig.step()), [[1, 0, 6], [2, 0, 1]]);
});

Deno.test("Scheduler.schedule() preempts the latest admitted and admits nobody in that step", () => {
  const rig = new SchedulerRig({ numBlocks: 4, blockSize: 2 });
  rig.add(requestOf("a", 2, { maxTokens: 9 }), requestOf("b", 2), requestOf("c", 2));
  rig.step();
  rig.add(requestOf("d", 1));
  // One block is free: a takes it, b takes that of c.
  assertEquals(chunksOf(rig.step()), [[0, 2, 1], [1, 2, 1]]);
  const { numRunning, numWaiting, numPreemptions } = rig.scheduler.stats;
  assertEquals([numRunning, numWaiting, numPreemptions], [2, 2, 1]);
});

Deno.test("Scheduler resumes a preempted sequence before newcomers, with its outputs kept", () => {
  const rig = new SchedulerRig({ numBlocks: 3, blockSize: 2 });
  rig.add(requestOf("a", 2, { maxTokens: 3 }), requestOf("b", 2, { maxTokens: 5 }));
  rig.step();
  rig.add(requestOf("c", 1));
  assertEquals(chunksOf(rig.step()), [[0, 2, 1]], "b needs a block that a has just taken");
  assertEquals(rig.tokensOf("b").length, 1);
  assertEquals(chunksOf(rig.step()), [[0, 3, 1]], "b's three tokens do not fit beside a");
  assertEquals(chunksOf(rig.step()), [[1, 0, 3], [2, 0, 1]]);
  rig.finish();
  const alone = new SchedulerRig();
  alone.add(requestOf("b", 2, { maxTokens: 5 }));
  alone.finish();
  assertEquals(rig.tokensOf("b"), alone.tokensOf("b"));
});

Deno.test("Scheduler ends a lone sequence that cannot grow with the numbers", () => {
  const rig = new SchedulerRig({ numBlocks: 2, blockSize: 2 });
  rig.add(requestOf("a", 3, { maxTokens: 9 }), requestOf("b", 1, { maxTokens: 1 }));
  rig.finish();
  assertEquals(rig.tokensOf("a").length, 2, "positions 3 and 4 are drawn, 4 cannot be computed");
  const { finishReason, error } = rig.endOf("a")!;
  assertEquals([finishReason, error?.code], ["error", "kv_cache_exceeded"]);
  assertEquals(error?.details, { n_tokens: 5, n_kv_cache_tokens: 4 });
  assertEquals(rig.endOf("b")?.finishReason, "length", "who waited goes on");
});

Deno.test("Scheduler ends a sequence that cannot grow, and goes on with its sibling in that step", () => {
  const rig = new SchedulerRig({ numBlocks: 2, blockSize: 1 });
  const sequence = { prompt: Uint32Array.of(1), params: samplingParams({ maxTokens: 5 }) };
  rig.add({ id: "a", sequences: [sequence, sequence] });
  assertEquals(chunksOf(rig.step()), [[0, 0, 1], [1, 0, 1]]);
  assertEquals(chunksOf(rig.step()), [[0, 1, 1]], "the second gives way");
  assertEquals(chunksOf(rig.step()), [[1, 0, 2]], "the first ends for want of a third block");
  rig.finish();
  assertEquals(rig.endOf("a", 0)?.finishReason, "error");
  assertEquals(rig.endOf("a", 1)?.finishReason, "error");
  assertEquals(rig.tokensOf("a", 0), rig.tokensOf("a", 1));
});

Deno.test("Scheduler.commit() frees the blocks of a sequence that ends", () => {
  const rig = new SchedulerRig({ numBlocks: 8, blockSize: 2 });
  rig.add(requestOf("a", 4, { maxTokens: 1 }));
  rig.step(() => assertEquals(rig.blocks.numFree, 6));
  assertEquals(rig.blocks.numFree, 8);
  assertEquals(rig.scheduler.hasWork, false);
});

Deno.test("Scheduler.commit() hands on log-probabilities and drops nothing", () => {
  const rig = new SchedulerRig();
  rig.add(requestOf("a", 1, { numLogprobs: 1 }));
  const batch = rig.scheduler.schedule()!;
  const topLogprobs = [{ token: 4, logprob: -0.1 }];
  const [event] = rig.scheduler.commit(batch, [
    { sequenceId: 0, outputs: [{ type: "token", token: 4, logprob: -0.1, topLogprobs }] },
  ]);
  assertEquals(event, {
    requestId: "a",
    index: 0,
    token: 4,
    logprob: -0.1,
    topLogprobs,
    numCachedTokens: 0,
  });
});

Deno.test("Scheduler.commit() wants the batch that is in flight, and its draws", () => {
  const rig = new SchedulerRig();
  rig.add(requestOf("a", 1));
  const batch = rig.scheduler.schedule()!;
  assertThrows(() => rig.scheduler.schedule(), InvariantError, "in flight");
  assertThrows(() => rig.scheduler.commit({ ...batch }, []), InvariantError, "not in flight");
  assertThrows(() => rig.scheduler.commit(batch, []), InvariantError, "0 results, asked were 1");
});

Deno.test("Scheduler.abort() of a waiting sequence ends it at once", () => {
  const rig = new SchedulerRig({ maxNumSeqs: 1 });
  rig.add(requestOf("a", 1), requestOf("b", 1));
  rig.step();
  rig.scheduler.abort("b");
  assertEquals(rig.scheduler.takeEvents(), [
    { requestId: "b", index: 0, finishReason: "abort", numCachedTokens: 0 },
  ]);
  assertEquals(rig.scheduler.stats.numWaiting, 0);
});

Deno.test("Scheduler.abort() of a running sequence frees its blocks at once between steps", () => {
  const rig = new SchedulerRig({ numBlocks: 8 });
  rig.add(requestOf("a", 4));
  rig.step();
  rig.scheduler.abort("a");
  assertEquals(rig.blocks.numFree, 8);
  assertEquals(rig.scheduler.hasWork, false);
});

Deno.test("Scheduler.abort() in flight keeps the blocks until the commit and drops the token", () => {
  const rig = new SchedulerRig({ numBlocks: 8 });
  rig.add(requestOf("a", 4), requestOf("b", 2));
  rig.step(() => {
    rig.scheduler.abort("a");
    rig.scheduler.abort("a");
    assertEquals(rig.blocks.numFree, 5, "the device still writes the blocks of a");
  });
  assertEquals(rig.blocks.numFree, 7);
  assertEquals(rig.tokensOf("a"), []);
  assertEquals(rig.events.map(({ requestId, finishReason }) => [requestId, finishReason]), [
    ["a", "abort"],
    ["b", undefined],
  ]);
});

Deno.test("Scheduler.abort() of one index leaves the siblings, and unknown ids alone", () => {
  const rig = new SchedulerRig();
  const [sequence] = requestOf("a", 1, { maxTokens: 2 }).sequences;
  rig.add({ id: "a", sequences: [sequence!, sequence!, sequence!] });
  rig.step();
  rig.scheduler.abort("a", 1);
  rig.scheduler.abort("a", 7);
  rig.scheduler.abort("unknown");
  rig.finish();
  const reasons = [0, 1, 2].map((index) => rig.endOf("a", index)?.finishReason);
  assertEquals(reasons, ["length", "abort", "length"]);
});

Deno.test("Scheduler.abort() without an index ends every sequence, running or waiting", () => {
  const rig = new SchedulerRig({ maxNumSeqs: 2 });
  const [sequence] = requestOf("a", 1).sequences;
  rig.add({ id: "a", sequences: [sequence!, sequence!, sequence!, sequence!] });
  rig.step();
  rig.scheduler.abort("a");
  rig.finish(0);
  const reasons = [0, 1, 2, 3].map((index) => rig.endOf("a", index)?.finishReason);
  assertEquals(reasons, ["abort", "abort", "abort", "abort"]);
});

Deno.test("Scheduler.add() queues all sequences of a request or none", () => {
  const rig = new SchedulerRig({ numBlocks: 4, blockSize: 2, maxNumQueuedSeqs: 3 });
  const [small] = requestOf("a", 2).sequences;
  const [large] = requestOf("a", 9).sequences;
  assertThrows(() => rig.add({ id: "a", sequences: [small!, large!] }), RequestError, "9 tokens");
  rig.add({ id: "b", sequences: [small!, small!] });
  const { data } = assertThrows(
    () => rig.add({ id: "c", sequences: [small!, small!] }),
    RequestError,
  );
  assertEquals([data.status, data.code], [429, "queue_full"]);
  assertEquals(rig.scheduler.stats.numWaiting, 2);
  rig.finish();
  assertEquals(rig.events.every(({ requestId }) => requestId === "b"), true);
});

Deno.test("Scheduler.add() refuses what no queue holds, and one owner's full queue leaves others theirs", () => {
  const rig = new SchedulerRig({ maxNumQueuedSeqs: 3 });
  const [sequence] = requestOf("a", 1).sequences;
  const ask = (id: string, count: number, owner: string) =>
    rig.add({ id, sequences: Array(count).fill(sequence), owner });
  const { data } = assertThrows(() => ask("a", 4, "x"), RequestError);
  assertEquals([data.status, data.code], [400, "too_many_sequences"]);
  assertEquals(rig.scheduler.hasWork, false);
  ask("b", 3, "x");
  const full = assertThrows(() => ask("c", 1, "x"), RequestError).data;
  assertEquals([full.status, full.details], [429, {
    ...{ n_waiting: 3, n_asked: 1, limit: 3 },
    retry_after_seconds: 1,
  }]);
  ask("d", 2, "y");
  assertEquals(rig.scheduler.stats.numWaiting, 5);
  assertThrows(() => ask("e", 2, "y"), RequestError, "2 sequences of this API key wait, 2 more");
});

Deno.test("Scheduler takes turns between owners: the second does not wait for all of the first", () => {
  const rig = new SchedulerRig({ maxNumSeqs: 2 });
  const ids = ["x0", "x1", "x2", "x3", "y0", "y1"];
  for (const id of ids) rig.add({ ...requestOf(id, 1, { maxTokens: 2 }), owner: id[0]! });
  rig.finish();
  const ends = rig.events.filter(({ finishReason }) => finishReason !== undefined);
  assertEquals(ends.map(({ requestId }) => requestId), ["x0", "y0", "x1", "y1", "x2", "x3"]);
});

Deno.test("Scheduler admits an owner of a higher priority before those that waited longer", () => {
  const rig = new SchedulerRig({ maxNumSeqs: 1 });
  const request = (id: string) => ({ ...requestOf(id, 1, { maxTokens: 2 }), owner: id[0]! });
  for (const id of ["x0", "x1", "x2"]) rig.add(request(id));
  for (const id of ["y0", "y1"]) rig.add({ ...request(id), ownerPriority: 1 });
  rig.finish();
  const ends = rig.events.filter(({ finishReason }) => finishReason !== undefined);
  assertEquals(ends.map(({ requestId }) => requestId), ["y0", "y1", "x0", "x1", "x2"]);
});

Deno.test("Scheduler does not let small requests of others overtake a large one once nobody of its owner runs", () => {
  // Blocks of 1: the large prompt takes all that the small ones leave only when both are gone.
  const rig = new SchedulerRig({ numBlocks: 6, blockSize: 1 });
  const small = (id: string) => rig.add({ ...requestOf(id, 1, { maxTokens: 3 }), owner: "s" });
  small("s0");
  rig.step();
  rig.add({ ...requestOf("large", 5, { maxTokens: 1 }), owner: "l" });
  for (let i = 1; i <= 3; i++) small(`s${i}`);
  rig.finish();
  const ends = rig.events.filter(({ finishReason }) => finishReason !== undefined);
  assertEquals(ends.map(({ requestId }) => requestId), ["s0", "large", "s1", "s2", "s3"]);
});

Deno.test("Scheduler.schedule() is undefined without work", () => {
  const rig = new SchedulerRig();
  assertEquals(rig.scheduler.schedule(), undefined);
  assertEquals(rig.scheduler.stats.numSteps, 0);
});

Deno.test("Scheduler.stats counts steps, prompt positions and outputs, recomputation included", () => {
  const rig = new SchedulerRig({ numBlocks: 3, blockSize: 2 });
  rig.add(requestOf("a", 2, { maxTokens: 3 }), requestOf("b", 2, { maxTokens: 3 }));
  rig.finish();
  const { numSteps, numPreemptions, numComputedPromptTokens, numGeneratedTokens } =
    rig.scheduler.stats;
  assertEquals(numPreemptions, 1);
  assertEquals(numComputedPromptTokens, 2 + 2 + 2);
  assertEquals(numGeneratedTokens, 6);
  assertEquals(numSteps, rig.runner.batches.length);
  const numTokens = rig.runner.batches.map((batch) => batch.numTokens);
  assertEquals(rig.scheduler.stats.numStepTokens, numTokens.reduce((a, b) => a + b));
});

Deno.test("Scheduler.stats counts prompts and tokens of answers as they are drawn, once, a warm-up's not", () => {
  const rig = new SchedulerRig({ numBlocks: 4, blockSize: 2, prefixCache: {} });
  const counts = () => {
    const { numPromptTokens, numGeneratedTokens } = rig.scheduler.stats;
    return [numPromptTokens, numGeneratedTokens];
  };
  rig.add(requestOf("a", 4, { maxTokens: 2 }), { ...requestOf("w", 4), isReheat: true });
  rig.add(requestOf("b", 2, { maxTokens: 4 }));
  assertEquals(counts(), [0, 0]);
  rig.step();
  // Nobody has looked at an event.
  assertEquals(counts(), [6, 2]);
  rig.finish();
  assertEquals(counts(), [6, 6]);
  rig.add(requestOf("again", 4, { maxTokens: 1 }));
  rig.finish();
  assert(rig.scheduler.stats.numHitTokens > 0, "nothing was cached");
  assertEquals(counts(), [10, 7]);
});

Deno.test("Scheduler.checkIntegrity() finds blocks that no sequence holds", () => {
  const rig = new SchedulerRig();
  rig.blocks.tryAdmit(99, Uint32Array.of(1));
  const error = assertThrows(() => rig.scheduler.checkIntegrity(), InvariantError);
  assertStringIncludes(error.message, "1 sequences with block tables, 0 that are to have them");
  assert(!rig.scheduler.hasWork);
});

Deno.test("Scheduler says who waits for a seat, for tokens of the step, and behind the head", () => {
  const decisions: KvDecision[] = [];
  const rig = new SchedulerRig({
    maxNumSeqs: 1,
    maxNumBatchedTokens: 4,
    onDecision: (decision) => decisions.push(decision),
  });
  const waits = () => decisions.splice(0).filter(({ type }) => type === "wait");
  const wait = (sequenceId: number, cause: WaitCause): KvDecision => ({
    type: "wait",
    sequenceId,
    ...cause,
  });
  rig.add(...["a", "b", "c"].map((id) => requestOf(id, 5, { maxTokens: 2 })));
  rig.step();
  const seats: WaitCause = { reason: "seats", numNeeded: 1, numTaken: 1, limit: 1 };
  assertEquals(waits(), [
    wait(1, { reason: "tokens", limit: 4 }),
    wait(2, { reason: "queue", headId: 1, numWaiting: 2 }),
  ]);
  rig.step();
  assertEquals(waits(), [wait(1, seats)]);
  rig.add(requestOf("d", 1));
  rig.step();
  assertEquals(waits(), [
    wait(1, seats),
    wait(3, { reason: "queue", headId: 1, numWaiting: 3 }),
  ]);
  rig.finish();
});

Deno.test("Scheduler has a last decision for each sequence, also for those that end while they wait", () => {
  const decisions: KvDecision[] = [];
  const rig = new SchedulerRig({
    numBlocks: 3,
    blockSize: 2,
    prefixCache: {},
    onDecision: (decision) => decisions.push(decision),
  });
  const lastOf = (id: number) => decisions.findLast(({ sequenceId }) => sequenceId === id);
  rig.add(requestOf("a", 2, { maxTokens: 3 }), requestOf("b", 3), requestOf("c", 3));
  rig.step();
  assertEquals(lastOf(1)?.type, "wait");
  rig.scheduler.abort("b");
  rig.scheduler.abort("c");
  assertEquals(lastOf(1), { type: "end", sequenceId: 1, reason: "abort" });
  assertEquals(lastOf(2), { type: "end", sequenceId: 2, reason: "abort" });
  rig.finish();
  assertEquals(lastOf(0)?.type, "free");

  rig.blocks.pins!.pin("kept", "", Uint32Array.of(1, 1));
  const prompt = Uint32Array.of(2, 2, 2, 2, 2);
  rig.add({ id: "d", sequences: [{ prompt, params: samplingParams() }] });
  rig.finish();
  assertEquals(lastOf(3), { type: "end", sequenceId: 3, reason: "error" });
});

Deno.test("Scheduler.add() tells what one sequence may have of a pool that cache groups share", () => {
  const heads = { numKvHeads: 1, headDim: 1 };
  const window = { kind: "sliding_window", window: 8, ...heads } as const;
  const groups = [{ kind: "full", ...heads } as const, window];
  const rig = new SchedulerRig({ numBlocks: 8, blockSize: 4, maxNumBatchedTokens: 4, groups });
  assertEquals(rig.blocks.numPoolTokens, 16);
  rig.add(requestOf("a", 16));
  const size = "(8 slabs in blocks of 4, shared by 2 cache groups)";
  const long = assertThrows(() => rig.add(requestOf("b", 17)), RequestError);
  assertEquals(long.message, `The prompt has 17 tokens, but the whole KV cache holds 16 ${size}`);
  const beamSearch = { width: 3, lengthPenalty: 1, earlyStopping: true };
  const [sequence] = requestOf("c", 8, { maxTokens: 4 }).sequences;
  const sequences = [sequence!, sequence!, sequence!];
  const wide = assertThrows(() => rig.add({ id: "c", sequences, beamSearch }), RequestError);
  assertStringIncludes(wide.message, `slabs together, but the whole KV cache holds 16 ${size}`);
});
