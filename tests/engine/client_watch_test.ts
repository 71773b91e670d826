import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { EngineUnavailableError } from "../../src/core/errors.ts";
import { FAKE_INFO } from "../support/fake_worker.ts";
import { requestOf } from "../support/requests.ts";
import { CLIENT_CONFIG, ClientRig, turns } from "../support/client_rig.ts";

/** Lets `ms` pass, a second at a time, as timers do. */
function pass({ clock }: ClientRig, ms: number, each: () => void = () => {}): void {
  for (let passed = 0; passed < ms; passed += 1000) {
    clock.advance(1000);
    each();
  }
}

/** How often the isolate was asked for its pulse. */
function numPings({ worker }: ClientRig): number {
  return worker.received.filter(({ type }) => type === "ping").length;
}

Deno.test("EngineClient ends an isolate that answers nothing, and hands what it worked on to the next", async () => {
  const rig = await new ClientRig().start();
  const generation = await rig.submit("a");
  const waiting = rig.client.submit(requestOf("b", 1));
  const command = rig.client.command({ type: "check_integrity" });
  const { worker } = rig;
  pass(rig, 3000);
  assertEquals([rig.client.state, numPings(rig)], ["ready", 1]);
  pass(rig, 1000);
  assertEquals([rig.client.state, worker.isTerminated], ["restarting", true]);
  assertStringIncludes(rig.client.failure ?? "", "has not completed a step for 4 s");
  await assertRejects(() => command, EngineUnavailableError, "before it replied");
  assertEquals([rig.lastFailure?.numKept, rig.lastFailure?.numFailed], [2, 0]);
  assertEquals(rig.lastFailure?.pauseMs, 2000, "its thread has some time to end");
  assertEquals(rig.clock.pendingMs, [2000], "only the restart is awaited");
  rig.clock.advance(2000);
  rig.worker.say({ type: "ready", info: FAKE_INFO });
  assertEquals([rig.client.state, rig.client.numRestarts], ["ready", 1]);
  assertEquals(rig.worker.received.filter(({ type }) => type === "submit").length, 2);
  rig.worker.say({ type: "accepted", id: "b" });
  rig.client.close();
  const [end] = (await Array.fromAsync(generation.events)).flat();
  assertEquals([end?.finishReason, end?.error?.status], ["error", 503]);
  await waiting;
});

Deno.test("EngineClient ends an isolate that answers but does not get on with its work", async () => {
  const rig = await new ClientRig().start();
  const answer = () => rig.worker.say({ type: "pong", numAdvances: 7, isBusy: true });
  pass(rig, 4000, answer);
  assertEquals(rig.client.state, "ready", "the first answer showed progress");
  pass(rig, 1000);
  assertEquals(rig.client.state, "restarting");
});

Deno.test("EngineClient tells of a step that takes long, and counts it once", async () => {
  const rig = await new ClientRig().start();
  const answer = (numAdvances: number) => () =>
    rig.worker.say({ type: "pong", numAdvances, isBusy: true, work: "the device computes" });
  const rest = () => rig.worker.say({ type: "pong", numAdvances: 0, isBusy: false });
  pass(rig, 5000, rest);
  assertEquals(rig.client.stall, undefined);
  pass(rig, 3000, answer(1));
  const stall = { seconds: 2, reason: "the device computes" };
  assertEquals([rig.client.stall, rig.client.numStalls, rig.stalls], [stall, 1, [stall]]);
  pass(rig, 1000, answer(2));
  assertEquals([rig.client.stall, rig.client.numStalls], [undefined, 1]);
  assertEquals(rig.stalls.length, 2);
  pass(rig, 5000);
  assertEquals([rig.client.state, rig.client.stall, rig.client.numStalls], [
    "restarting",
    undefined,
    2,
  ]);
});

Deno.test("EngineClient lets an isolate be that advances, or has nothing to do", async () => {
  const rig = await new ClientRig().start();
  let numAdvances = 0;
  const advance = () => rig.worker.say({ type: "pong", numAdvances: ++numAdvances, isBusy: true });
  pass(rig, 20_000, advance);
  const rest = () => rig.worker.say({ type: "pong", numAdvances, isBusy: false });
  pass(rig, 20_000, rest);
  assertEquals([rig.client.state, numPings(rig)], ["ready", 40]);
  rig.client.close();
  assertEquals(rig.clock.pendingMs, []);
});

Deno.test("EngineClient restarts an isolate that ends without a word", async () => {
  const rig = await new ClientRig().start();
  await rig.submit("a");
  rig.worker.exit();
  assertEquals([rig.client.state, rig.client.numInFlight], ["restarting", 1]);
  assertStringIncludes(rig.client.failure ?? "", "ended without saying why");
});

Deno.test("EngineClient.start() rejects when a phase of the start does not end", async () => {
  const rig = new ClientRig();
  const starting = rig.client.start(CLIENT_CONFIG);
  pass(rig, 7000);
  rig.worker.say({ type: "progress", phase: "loading" });
  pass(rig, 7000);
  assertEquals(rig.client.state, "starting", "each phase has its own time");
  pass(rig, 1000);
  await assertRejects(() => starting, EngineUnavailableError, "not got on with its start for 8 s");
  assertEquals([rig.client.state, rig.clock.pendingMs], ["failed", []]);
});

Deno.test("EngineClient counts a restart that hangs as a failure", async () => {
  const rig = await new ClientRig().start();
  rig.worker.crash("boom");
  rig.clock.advance(100);
  pass(rig, 8000);
  assertEquals([rig.client.state, rig.clock.pendingMs], ["restarting", [2000]]);
});

Deno.test("EngineClient starts no other isolate beside two threads that cannot be ended", async () => {
  const rig = await new ClientRig({ maxNumFailures: 9 }).start();
  rig.worker.isStuck = true;
  rig.worker.crash("loops");
  rig.clock.advance(100);
  assertEquals(rig.workers.length, 2, "one may be stuck");
  rig.worker.isStuck = true;
  rig.worker.crash("loops");
  rig.clock.advance(200);
  assertEquals([rig.client.state, rig.workers.length], ["failed", 2]);
  assertStringIncludes(rig.client.failure ?? "", "2 threads of the engine hang");
  assertEquals(rig.failures.at(-1), `${rig.client.failure} -> failed`);
  await assertRejects(() => rig.client.submit(requestOf("a", 1)), EngineUnavailableError);
});

Deno.test("EngineClient forgets a stuck thread that has ended after all", async () => {
  const rig = await new ClientRig({ maxNumFailures: 9 }).start();
  const [first] = rig.workers;
  first!.isStuck = true;
  first!.crash("loops");
  rig.clock.advance(100);
  rig.worker.isStuck = true;
  rig.worker.crash("loops");
  first!.exit();
  rig.clock.advance(200);
  assertEquals([rig.client.state, rig.workers.length], ["restarting", 3]);
});

Deno.test("EngineClient tries for ever where no number of failures is too many", async () => {
  const rig = await new ClientRig({ maxNumFailures: 0, maxDelayMs: 300 }).start();
  const pauses = [];
  for (let round = 0; round < 6; round++) {
    if (round === 4) rig.worker.say({ type: "failed", message: "No model", isUsersMistake: true });
    else rig.worker.crash("boom");
    pauses.push(...rig.clock.pendingMs);
    rig.clock.advance(pauses.at(-1)!);
  }
  assertEquals(pauses, [100, 200, 300, 300, 300, 300]);
  assertEquals(rig.client.state, "restarting");
});

Deno.test("EngineClient.drain() ends within its deadlines while the isolate hangs", async () => {
  const rig = await new ClientRig().start();
  const generation = await rig.submit("a");
  let isDrained = false;
  const draining = rig.client.drain(1000).then(() => isDrained = true);
  pass(rig, 1000);
  const [end] = (await Array.fromAsync(generation.events)).flat();
  assertEquals([end?.finishReason, isDrained], ["error", false]);
  await turns();
  pass(rig, 10_000);
  await draining;
  assertEquals([rig.client.state, rig.clock.pendingMs], ["draining", []]);
});

Deno.test("EngineClient.drain() is not held up by an isolate that the watchdog ends", async () => {
  const rig = await new ClientRig().start();
  await rig.submit("a");
  const draining = rig.client.drain(60_000);
  pass(rig, 4000);
  await draining;
  assertEquals([rig.client.state, rig.clock.pendingMs, rig.workers.length], ["draining", [], 1]);
});
