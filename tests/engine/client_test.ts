import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import type { EngineConfig } from "../../src/core/engine_config.ts";
import { EngineUnavailableError, RequestError, StartupError } from "../../src/core/errors.ts";
import { CLIENT_CONFIG as CONFIG, ClientRig, turns } from "../support/client_rig.ts";
import { FAKE_INFO, statsAfter } from "../support/fake_worker.ts";
import { requestOf } from "../support/requests.ts";

Deno.test("EngineClient tells of each request before the engine has it, and counts those in flight", async () => {
  const rig = await new ClientRig().start();
  const answer = rig.client.submit(requestOf("a", 1));
  assertEquals([rig.submitted, rig.client.numInFlight], [["a"], 1]);
  rig.worker.say({ type: "accepted", id: "a" });
  await answer;
  const refused = rig.client.submit(requestOf("b", 1));
  assertEquals(rig.client.numInFlight, 2);
  const error = { status: 400, type: "t", code: null, message: "no", param: null };
  rig.worker.say({ type: "refused", id: "b", error });
  await assertRejects(() => refused, RequestError);
  assertEquals([rig.submitted, rig.client.numInFlight], [["a", "b"], 1]);
  rig.client.close();
});

Deno.test("EngineClient.start() hands over the configuration and waits until the engine is ready", async () => {
  const rig = new ClientRig();
  assertEquals(rig.client.state, "starting");
  const starting = rig.client.start(CONFIG);
  assertEquals(rig.worker.received, [{ type: "start", config: CONFIG }]);
  rig.worker.say({ type: "progress", phase: "loading" });
  await assertRejects(() => rig.client.submit(requestOf("a", 1)), EngineUnavailableError, "start");
  rig.worker.say({ type: "ready", info: FAKE_INFO });
  assertEquals(await starting, FAKE_INFO);
  assertEquals([rig.client.state, rig.client.info], ["ready", FAKE_INFO]);
  assertEquals(rig.phases, ["loading"]);
});

Deno.test("EngineClient.start() rejects with what the user can put right, and tries no more", async () => {
  const rig = new ClientRig();
  const starting = rig.client.start(CONFIG);
  rig.worker.say({ type: "failed", message: "No config.json there", isUsersMistake: true });
  await assertRejects(() => starting, StartupError, "No config.json there");
  assertEquals([rig.client.state, rig.client.failure], ["failed", "No config.json there"]);
  assertEquals(
    rig.worker.isTerminated,
    false,
    "a thread that ends may disturb the end of the process",
  );
  rig.client.close();
  assertEquals(rig.worker.isTerminated, true);
  assertEquals(rig.clock.pendingMs, []);
});

Deno.test("EngineClient.start() rejects when the isolate cannot even load", async () => {
  const rig = new ClientRig();
  const starting = rig.client.start(CONFIG);
  assert(rig.worker.crash("Module not found"), "an unhandled error would end the whole process");
  const error = await assertRejects(() => starting, Error, "Module not found");
  assertEquals(error instanceof StartupError, false);
  assertEquals([rig.client.state, rig.worker.isTerminated], ["failed", true]);
});

Deno.test("EngineClient's statistics have the whole pool free before the first step", async () => {
  const { client } = await new ClientRig().start();
  const { numBlocks, numFreeBlocks, numSteps } = client.stats;
  assertEquals([numBlocks, numFreeBlocks, numSteps], [32, 32, 0]);
});

Deno.test("EngineClient streams the events of a request and keeps the statistics", async () => {
  const rig = await new ClientRig().start();
  const generation = await rig.submit("a");
  assertEquals(rig.worker.received[1], { type: "submit", request: requestOf("a", 1) });
  const token = { requestId: "a", index: 0, token: 5, numCachedTokens: 0 };
  const end = { requestId: "a", index: 0, token: 6, finishReason: "stop" } as const;
  rig.worker.sayEvents(1, token);
  rig.worker.sayEvents(2, end);
  assertEquals(await Array.fromAsync(generation.events), [[token], [end]]);
  assertEquals(rig.client.stats.numSteps, 2);
});

Deno.test("EngineClient.submit() rejects with the engine's refusal", async () => {
  const rig = await new ClientRig().start();
  const answer = rig.client.submit(requestOf("a", 1));
  const error = {
    status: 429,
    type: "rate_limit_error",
    code: "queue_full",
    message: "The queue is full",
    param: null,
  };
  rig.worker.say({ type: "refused", id: "a", error });
  const { data } = await assertRejects(() => answer, RequestError, "The queue is full");
  assertEquals(data, error);
});

Deno.test("EngineClient.command() resolves with the engine's answer, or rejects with its refusal", async () => {
  const rig = await new ClientRig().start();
  const reset = rig.client.command({ type: "reset_prefix_cache", preempt: true });
  const check = rig.client.command({ type: "check_integrity" });
  assertEquals(rig.worker.received.slice(1), [
    { type: "command", id: 0, command: { type: "reset_prefix_cache", preempt: true } },
    { type: "command", id: 1, command: { type: "check_integrity" } },
  ]);
  const error = new RequestError("In use", { status: 409 }).data;
  rig.worker.say({ type: "reply", id: 1, error });
  rig.worker.say({ type: "reply", id: 0, value: { numPreempted: 2 } });
  assertEquals(await reset, { numPreempted: 2 });
  const { data } = await assertRejects(() => check, RequestError, "In use");
  assertEquals(data, error);
});

Deno.test("EngineClient.command() rejects when the isolate fails, and while there is none", async () => {
  const rig = await new ClientRig().start();
  const answer = rig.client.command({ type: "check_integrity" });
  rig.worker.crash("Out of memory");
  await assertRejects(() => answer, EngineUnavailableError, "before it replied");
  await assertRejects(
    () => rig.client.command({ type: "check_integrity" }),
    EngineUnavailableError,
    "restarting after a failure",
  );
});

Deno.test("EngineClient.close() rejects the commands that wait", async () => {
  const rig = await new ClientRig().start();
  const answer = rig.client.command({ type: "check_integrity" });
  rig.client.close();
  await assertRejects(() => answer, EngineUnavailableError, "shut down");
});

Deno.test("EngineClient tells the engine when a consumer leaves or aborts", async () => {
  const rig = await new ClientRig().start();
  const left = await rig.submit("left");
  const aborted = await rig.submit("aborted");
  rig.worker.sayEvents(1, { requestId: "left", index: 0, token: 5 });
  for await (const _ of left.events) break;
  aborted.abort(0);
  assertEquals(rig.worker.received.slice(3), [
    { type: "abort", id: "left" },
    { type: "abort", id: "aborted", index: 0 },
  ]);
});

Deno.test("EngineClient hands what streams to the next isolate when one fails", async () => {
  const rig = await new ClientRig().start();
  const generation = await rig.submit("a");
  const unanswered = rig.client.submit(requestOf("b", 1));
  rig.worker.sayEvents(1, { requestId: "a", index: 0, token: 5 });
  const failed = rig.worker;
  failed.say({ type: "failed", message: "The GPU is gone", isUsersMistake: false });
  assertEquals([rig.client.state, rig.client.failure], ["restarting", "The GPU is gone"]);
  assertEquals([failed.isTerminated, rig.client.numInFlight], [true, 2]);
  assertEquals([rig.client.stats.numRunning, rig.client.stats.numWaiting], [0, 2]);
  assertEquals(rig.lastFailure, {
    reason: "The GPU is gone",
    state: "restarting",
    numKept: 2,
    numFailed: 0,
    pauseMs: 100,
  });
  await assertRejects(
    () => rig.client.submit(requestOf("c", 1)),
    EngineUnavailableError,
    "restarting",
  );

  rig.clock.advance(99);
  assertEquals(rig.workers.length, 1);
  rig.clock.advance(1);
  assertEquals(rig.worker.received, [{ type: "start", config: CONFIG }]);
  rig.worker.say({ type: "ready", info: FAKE_INFO });
  assertEquals([rig.client.state, rig.client.failure], ["ready", undefined]);
  const resumed = (...tokens: number[]) => {
    const sequences = [{ tokens: Uint32Array.from(tokens), hasEnded: false }];
    return { resumed: { sequences, elapsedMs: 100 } };
  };
  assertEquals(rig.worker.received.slice(1), [
    { type: "submit", request: { ...requestOf("a", 1), ...resumed(5) } },
    { type: "submit", request: { ...requestOf("b", 1), ...resumed() } },
  ]);
  assertEquals(rig.failures, ["The GPU is gone -> restarting"]);
  const { numLosses, numResumedRequests } = rig.client.stats;
  assertEquals([rig.numReady, numLosses, numResumedRequests], [2, 1, 2]);

  rig.worker.say({ type: "accepted", id: "a" });
  rig.worker.say({ type: "accepted", id: "b" });
  const end = { index: 0, token: 6, finishReason: "stop" } as const;
  rig.worker.sayEvents(1, { requestId: "a", ...end }, { requestId: "b", ...end });
  const tokens = async ({ events }: typeof generation) =>
    (await Array.fromAsync(events)).flat().map(({ token }) => token);
  assertEquals([await tokens(generation), await tokens(await unanswered)], [[5, 6], [6]]);
  await rig.submit("d");
});

Deno.test("EngineClient ends all it has kept when it gives up, and says why", async () => {
  const rig = await new ClientRig().start();
  const generation = await rig.submit("a");
  const unanswered = rig.client.submit(requestOf("b", 1));
  for (const pauseMs of [100, 200]) {
    rig.worker.crash("boom");
    rig.clock.advance(pauseMs);
  }
  rig.worker.crash("the last one");
  assertEquals([rig.client.state, rig.lastFailure?.numFailed], ["failed", 2]);
  const [end] = (await Array.fromAsync(generation.events)).flat();
  assertEquals([end?.finishReason, end?.error?.status], ["error", 503]);
  assertStringIncludes(end!.error!.message, "no other is started in its place: the last one");
  await assertRejects(() => unanswered, EngineUnavailableError, "the last one");
});

Deno.test("EngineClient.outage says since when there is no engine, and when the next is tried", async () => {
  const rig = await new ClientRig().start();
  assertEquals(rig.client.outage, undefined);
  rig.worker.crash("boom");
  rig.clock.advance(30);
  const base = { numFailures: 1, maxNumFailures: 3 };
  assertEquals(rig.client.outage, { ...base, elapsedMs: 30, nextTryMs: 70 });
  rig.clock.advance(70);
  assertEquals(rig.client.outage, { ...base, elapsedMs: 100 });
  rig.worker.crash("boom");
  rig.clock.advance(50);
  assertEquals(rig.client.outage, { ...base, numFailures: 2, elapsedMs: 150, nextTryMs: 150 });
  rig.clock.advance(150);
  rig.worker.say({ type: "ready", info: FAKE_INFO });
  assertEquals(rig.client.outage, undefined);
  rig.client.close();
});

Deno.test("EngineClient gives an engine that ran out of memory a smaller pool, down to one longest sequence", () => {
  const sizes: readonly [Partial<EngineConfig>, Partial<EngineConfig>][] = [
    [{ numBlocksOverride: 240 }, { numBlocksOverride: 120 }],
    [{ kvCacheMemoryBytes: 24_000 }, { kvCacheMemoryBytes: 24_000, numBlocksOverride: 120 }],
    [{ gpuMemoryBytes: 99_000 }, { gpuMemoryBytes: 99_000, numBlocksOverride: 120 }],
    // It keeps its freedom, within the half.
    [{}, { maxKvCacheMemoryBytes: 12_000 }],
  ];
  for (const [given, next] of sizes) {
    const info = { ...FAKE_INFO, numBlocks: 240, kvCacheBytes: 24_000 };
    const rig = new ClientRig({ maxNumFailures: 0 });
    rig.client.start({ ...CONFIG, ...given });
    rig.worker.say({ type: "ready", info });
    assertEquals(rig.client.notice, undefined);
    const started = () => rig.worker.received[0];
    const fail = (numBlocks: number) => {
      rig.worker.say({
        type: "failed",
        message: "full",
        isUsersMistake: false,
        isOutOfMemory: true,
      });
      rig.clock.advance(100_000);
      rig.worker.say({
        type: "ready",
        info: { ...info, numBlocks, kvCacheBytes: 100 * numBlocks },
      });
      return rig.lastFailure?.reducedPool;
    };
    assertEquals(fail(120), { numBefore: 240, numAfter: 120 });
    assertEquals(started(), { type: "start", config: { ...CONFIG, ...given, ...next } });
    assertEquals([fail(60), fail(50), fail(50)], [
      { numBefore: 120, numAfter: 60 },
      // One sequence of 100 tokens takes 50 blocks.
      { numBefore: 60, numAfter: 50 },
      { numBefore: 50, numAfter: 50 },
    ]);
    const notice = "Since the engine ran out of memory, it starts with at most 50 KV blocks in " +
      "place of 240";
    assertEquals(rig.client.notice, notice);
    const cut = started();
    rig.worker.crash("boom");
    rig.clock.advance(100_000);
    assertEquals(started(), cut, "it stays so");
    rig.client.close();
  }
});

Deno.test("EngineClient does not listen to an isolate that has failed", async () => {
  const rig = await new ClientRig().start();
  const failed = rig.worker;
  assert(failed.crash("boom"));
  rig.clock.advance(100);
  rig.worker.say({ type: "ready", info: FAKE_INFO });
  const generation = await rig.submit("a");
  failed.sayEvents(9, { requestId: "a", index: 0, token: 5 });
  assert(failed.crash("boom again"));
  rig.worker.sayEvents(1, { requestId: "a", index: 0, token: 6, finishReason: "stop" });
  const tokens = (await Array.fromAsync(generation.events)).flat().map(({ token }) => token);
  assertEquals(tokens, [6]);
  assertEquals([rig.client.state, rig.client.stats.numSteps], ["ready", 1]);
});

Deno.test("EngineClient counts on across isolates", async () => {
  const rig = await new ClientRig().start();
  rig.worker.sayEvents(5);
  rig.worker.crash("boom");
  assertEquals([rig.client.stats.numSteps, rig.client.stats.numRunning], [5, 0]);
  rig.clock.advance(100);
  rig.worker.say({ type: "ready", info: FAKE_INFO });
  rig.worker.sayEvents(2);
  assertEquals(rig.client.stats.numSteps, 7);
});

Deno.test("EngineClient waits longer after each failure in a row, and gives up", async () => {
  const rig = await new ClientRig().start();
  rig.worker.crash("first");
  assertEquals(rig.clock.pendingMs, [100]);
  rig.clock.advance(100);
  rig.worker.say({ type: "ready", info: FAKE_INFO });
  rig.worker.crash("second");
  assertEquals(rig.clock.pendingMs, [200]);
  rig.clock.advance(200);
  rig.worker.crash("third");
  assertEquals([rig.client.state, rig.client.failure], ["failed", "third"]);
  assertEquals([rig.clock.pendingMs, rig.workers.length], [[], 3]);
  await assertRejects(() => rig.client.submit(requestOf("a", 1)), EngineUnavailableError, "not");
});

Deno.test("EngineClient forgives past failures once steps are done long after a start", async () => {
  const rig = await new ClientRig().start();
  for (let round = 0; round < 5; round++) {
    rig.worker.sayEvents(1);
    rig.clock.advance(1000);
    rig.worker.sayEvents(2);
    rig.worker.crash("boom");
    assertEquals(rig.clock.pendingMs, [100]);
    rig.clock.advance(100);
    rig.worker.say({ type: "ready", info: FAKE_INFO });
  }
  assertEquals([rig.client.state, rig.client.numRestarts], ["ready", 5]);
});

Deno.test("EngineClient does not retry for ever what kills each isolate after its first step", async () => {
  const rig = await new ClientRig().start();
  for (const pauseMs of [100, 200]) {
    rig.worker.sayEvents(1);
    // Neither time without a step counts, nor a message that tells of none.
    rig.clock.advance(1001);
    rig.worker.sayEvents(1);
    rig.worker.crash("poison");
    assertEquals(rig.clock.pendingMs, [pauseMs]);
    rig.clock.advance(pauseMs);
    rig.worker.say({ type: "ready", info: FAKE_INFO });
  }
  rig.worker.crash("poison");
  assertEquals([rig.client.state, rig.client.failure], ["failed", "poison"]);
});

Deno.test("EngineClient forgives past failures when an answer is completed", async () => {
  const rig = await new ClientRig().start();
  for (let round = 0; round < 5; round++) {
    const generation = await rig.submit("a");
    rig.worker.sayEvents(1, { requestId: "a", index: 0, token: 6, finishReason: "length" });
    assertEquals((await Array.fromAsync(generation.events)).length, 1);
    rig.worker.crash("boom");
    assertEquals(rig.clock.pendingMs, [100]);
    rig.clock.advance(100);
    rig.worker.say({ type: "ready", info: FAKE_INFO });
  }
  assertEquals([rig.client.state, rig.client.stats.numLosses], ["ready", 5]);
  rig.client.close();
});

Deno.test("EngineClient drops what a thread hangs by that cannot be ended", async () => {
  const rig = await new ClientRig().start();
  const stalls = await rig.submit("stalls");
  await rig.submit("waits");
  rig.worker.say({ type: "admitted", ids: ["stalls"] });
  rig.worker.isStuck = true;
  while (rig.client.state === "ready") rig.clock.advance(1000);
  rig.clock.advance(2000);
  const [end] = (await Array.fromAsync(stalls.events)).flat();
  assertEquals([end?.error?.status, end?.error?.code], [500, "engine_lost"]);
  rig.worker.say({ type: "ready", info: FAKE_INFO });
  const [, ...submitted] = rig.worker.received;
  assertEquals(submitted.map((message) => message.type === "submit" && message.request.id), [
    "waits",
  ]);
  rig.client.close();

  const other = await new ClientRig().start();
  await other.submit("stalls");
  other.worker.say({ type: "admitted", ids: ["stalls"] });
  other.worker.isStuck = true;
  other.worker.crash("boom");
  other.clock.advance(100);
  assertEquals(other.client.numInFlight, 1, "this thread does not hang, it is still ending");
  other.client.close();
});

Deno.test("EngineClient does not retry a restart that only the user can put right", async () => {
  const rig = await new ClientRig().start();
  rig.worker.crash("boom");
  rig.clock.advance(100);
  rig.worker.say({ type: "failed", message: "The model is gone", isUsersMistake: true });
  assertEquals([rig.client.state, rig.clock.pendingMs], ["failed", []]);
});

Deno.test("EngineClient.drain() refuses what is new and waits for what streams", async () => {
  const rig = await new ClientRig().start();
  const generation = await rig.submit("a");
  let isDrained = false;
  const draining = rig.client.drain(1000).then(() => isDrained = true);
  assertEquals(rig.client.state, "draining");
  await assertRejects(() => rig.client.submit(requestOf("b", 1)), EngineUnavailableError, "shut");
  assertEquals([isDrained, rig.worker.isTerminated], [false, false]);
  rig.worker.sayEvents(1, { requestId: "a", index: 0, token: 5, finishReason: "stop" });
  await turns();
  assertEquals([rig.worker.received.at(-1), isDrained], [{ type: "stop" }, false]);
  assertEquals(rig.worker.isTerminated, false, "it has not said that its device is released");
  rig.worker.say({ type: "stopped" });
  await draining;
  assertEquals(
    rig.worker.isTerminated,
    false,
    "a thread that ends may disturb the end of the process",
  );
  assertEquals((await Array.fromAsync(generation.events)).flat()[0]?.finishReason, "stop");
  assertEquals(rig.clock.pendingMs, [], "the deadline's timer would keep the process alive");
  rig.client.close();
  assertEquals(rig.worker.isTerminated, true);
});

Deno.test("EngineClient.drain() ends what still streams at the deadline", async () => {
  const rig = await new ClientRig().start();
  const generation = await rig.submit("a");
  const draining = rig.client.drain(1000);
  rig.clock.advance(1000);
  await turns();
  rig.worker.say({ type: "stopped" });
  await draining;
  const [end] = (await Array.fromAsync(generation.events)).flat();
  assertEquals([end?.finishReason, end?.error?.status], ["error", 503]);
});

Deno.test("EngineClient.drain() does not wait for ever for an isolate that does not answer", async () => {
  const rig = await new ClientRig().start();
  let isDrained = false;
  const draining = rig.client.drain(1000).then(() => isDrained = true);
  await turns();
  rig.clock.advance(9_999);
  await turns();
  assertEquals(isDrained, false);
  rig.clock.advance(1);
  await draining;
});

Deno.test("EngineClient.drain() does not wait for an isolate that still starts, which is not ready afterwards", async () => {
  const rig = new ClientRig();
  const starting = rig.client.start(CONFIG);
  await Promise.all([
    assertRejects(() => starting, Error, "closed while it started"),
    rig.client.drain(1000),
  ]);
  assertEquals([rig.worker.received.at(-1), rig.clock.pendingMs], [{ type: "stop" }, []]);
  rig.worker.say({ type: "ready", info: FAKE_INFO });
  assertEquals([rig.client.state, rig.numReady], ["draining", 0]);
});

Deno.test("EngineClient.drain() does not wait for an isolate that starts in place of another", async () => {
  const rig = await new ClientRig().start();
  rig.worker.crash("boom");
  rig.clock.advance(100);
  await rig.client.drain(1000);
  assertEquals([rig.workers.length, rig.worker.received.at(-1)], [2, { type: "stop" }]);
  assertEquals([rig.client.state, rig.clock.pendingMs], ["draining", []]);
});

Deno.test("EngineClient.drain() waits for what the next engine goes on with", async () => {
  const rig = await new ClientRig().start();
  const generation = await rig.submit("a");
  rig.worker.crash("boom");
  let isDrained = false;
  const draining = rig.client.drain(1000).then(() => isDrained = true);
  rig.clock.advance(100);
  rig.worker.say({ type: "ready", info: FAKE_INFO });
  await turns();
  assertEquals([rig.client.state, rig.numReady, isDrained], ["draining", 1, false]);
  rig.worker.sayEvents(1, { requestId: "a", index: 0, token: 5, finishReason: "stop" });
  await turns();
  rig.worker.say({ type: "stopped" });
  await draining;
  assertEquals((await Array.fromAsync(generation.events)).flat()[0]?.finishReason, "stop");
  assertEquals(rig.clock.pendingMs, []);
  rig.client.close();
});

Deno.test("EngineClient.info follows the size of the pool", async () => {
  const rig = await new ClientRig().start();
  const worker = rig.worker;
  assertEquals([rig.client.info?.numBlocks, rig.client.info?.kvCacheBytes], [32, 3200]);
  worker.say({ type: "events", events: [], stats: { ...statsAfter(1), numBlocks: 40 } });
  assertEquals([rig.client.info?.numBlocks, rig.client.info?.kvCacheBytes], [40, 4000]);
  worker.say({ type: "events", events: [], stats: { ...statsAfter(2), numBlocks: 7 } });
  assertEquals(rig.client.info, { ...FAKE_INFO, numBlocks: 7, kvCacheBytes: 700 });
  rig.client.close();
});

Deno.test("EngineClient.drain() ends with the isolate, and starts no other", async () => {
  const rig = await new ClientRig().start();
  await rig.submit("a");
  const draining = rig.client.drain(1000);
  rig.worker.crash("boom");
  await draining;
  assertEquals([rig.client.state, rig.clock.pendingMs], ["draining", []]);
  assertEquals(rig.failures, ["boom -> draining"]);
});

Deno.test("EngineClient.close() cancels a restart and a start", async () => {
  const restarting = await new ClientRig().start();
  restarting.worker.crash("boom");
  restarting.client.close();
  assertEquals(restarting.clock.pendingMs, []);

  const starting = new ClientRig();
  const start = starting.client.start(CONFIG);
  starting.client.close();
  starting.client.close();
  await assertRejects(() => start, Error, "closed while it started");
  assertEquals(starting.worker.isTerminated, true);
});
