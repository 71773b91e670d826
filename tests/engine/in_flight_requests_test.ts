import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { EngineUnavailableError, RequestError } from "../../src/core/errors.ts";
import type { GenerationRequest } from "../../src/core/generation.ts";
import type { FinishReason } from "../../src/core/token_event.ts";
import { InFlightRequests } from "../../src/engine/in_flight_requests.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { requestOf } from "../support/requests.ts";

const ERROR = {
  status: 503,
  type: "server_error",
  code: "engine_unavailable",
  message: "The engine stopped",
  param: null,
};

function twoSequences(id: string): GenerationRequest {
  return { id, sequences: [...requestOf(id, 1).sequences, ...requestOf(id, 1).sequences] };
}

function end(requestId: string, index: number, finishReason: FinishReason = "stop") {
  return { requestId, index, token: 7, finishReason };
}

/** A table with an engine, and what it tells the engine. */
function table() {
  const aborts: (string | number | undefined)[][] = [];
  const submitted: GenerationRequest[] = [];
  const clock = new ManualClock();
  let numTimeouts = 0;
  const requests = new InFlightRequests({
    clock,
    submit: (request) => submitted.push(request),
    abort: (id, index) => aborts.push([id, index]),
    onTimeout: () => numTimeouts++,
  });
  requests.connect();
  /** Requests handed over since this was last asked. */
  const taken = () => submitted.splice(0);
  return { requests, aborts, taken, clock, numTimeouts: () => numTimeouts };
}

/** A table with one accepted request of two sequences, and the aborts it asked for. */
async function withAccepted() {
  const { requests, ...rig } = table();
  const answer = requests.open(twoSequences("a"));
  requests.accept("a");
  return { requests, ...rig, generation: await answer };
}

Deno.test("InFlightRequests gives each request its own events, one array per step", async () => {
  const { requests, generation } = await withAccepted();
  const answer = requests.open(requestOf("b", 1));
  requests.accept("b");
  const other = await answer;
  requests.deliver([
    { requestId: "a", index: 0, token: 1 },
    { requestId: "b", index: 0, token: 2 },
    { requestId: "a", index: 1, token: 3 },
  ]);
  requests.deliver([end("a", 0), end("a", 1), end("b", 0)]);
  assertEquals(await Array.fromAsync(generation.events), [
    [{ requestId: "a", index: 0, token: 1 }, { requestId: "a", index: 1, token: 3 }],
    [end("a", 0), end("a", 1)],
  ]);
  assertEquals(await Array.fromAsync(other.events), [
    [{ requestId: "b", index: 0, token: 2 }],
    [end("b", 0)],
  ]);
  assertEquals(requests.size, 0);
});

Deno.test("InFlightRequests keeps a request until its last sequence has ended", async () => {
  const { requests } = await withAccepted();
  requests.deliver([end("a", 1)]);
  assertEquals(requests.size, 1);
  requests.deliver([end("a", 0)]);
  assertEquals(requests.size, 0);
});

Deno.test("InFlightRequests.refuse() rejects with the engine's error, fields and all", async () => {
  const { requests } = table();
  const answer = requests.open(requestOf("a", 1));
  const details = { limit: 3 };
  requests.refuse("a", { ...ERROR, status: 429, code: "queue_full", details });
  const { data } = await assertRejects(() => answer, RequestError, "The engine stopped");
  assertEquals([data.status, data.code, data.details], [429, "queue_full", details]);
  assertEquals(requests.size, 0);
});

Deno.test("InFlightRequests.open() refuses an id that is in flight, and takes it once that ended", async () => {
  const { requests } = await withAccepted();
  assertThrows(() => requests.open(requestOf("a", 1)), RequestError, '"a" is in flight');
  requests.deliver([end("a", 0), end("a", 1)]);
  requests.open(requestOf("a", 1));
  assertEquals(requests.size, 1);
});

Deno.test("InFlightRequests aborts what its consumer leaves, and forgets it when it has ended", async () => {
  const { requests, aborts, generation } = await withAccepted();
  requests.deliver([{ requestId: "a", index: 0, token: 1 }]);
  for await (const _ of generation.events) break;
  assertEquals(aborts, [["a", undefined]]);
  assertEquals(requests.size, 1, "the engine has not ended it yet");
  requests.deliver([end("a", 0, "abort"), end("a", 1, "abort")]);
  assertEquals(requests.size, 0);
});

Deno.test("Generation.abort() names one sequence or all, and is nothing once all have ended", async () => {
  const { requests, aborts, generation } = await withAccepted();
  generation.abort(1);
  generation.abort();
  assertEquals(aborts, [["a", 1], ["a", undefined]]);
  requests.deliver([end("a", 0, "abort"), end("a", 1, "abort")]);
  generation.abort();
  assertEquals(aborts.length, 2);
});

Deno.test("InFlightRequests.failAll() ends what is left of each request, and refuses the unanswered", async () => {
  const { requests, generation } = await withAccepted();
  const unanswered = requests.open(requestOf("b", 1));
  requests.deliver([end("a", 0)]);
  requests.failAll(ERROR);
  assertEquals(await Array.fromAsync(generation.events), [
    [end("a", 0)],
    [{ requestId: "a", index: 1, finishReason: "error", error: ERROR }],
  ]);
  await assertRejects(() => unanswered, EngineUnavailableError, "The engine stopped");
  assertEquals(requests.size, 0);
});

Deno.test("InFlightRequests.whenEmpty() resolves with the end of the last request", async () => {
  const { requests } = await withAccepted();
  requests.open(requestOf("b", 1));
  requests.accept("b");
  let isEmpty = false;
  const waiting = requests.whenEmpty().then(() => isEmpty = true);
  requests.deliver([end("a", 0), end("b", 0)]);
  await Promise.resolve();
  assertEquals(isEmpty, false);
  requests.deliver([end("a", 1)]);
  await waiting;
  await requests.whenEmpty();
});

function token(requestId: string, index: number, value: number) {
  return { requestId, index, token: value };
}

Deno.test("InFlightRequests hands the next engine what it has of each request, in order of arrival", async () => {
  const { requests, taken, clock } = await withAccepted();
  const unanswered = requests.open(requestOf("b", 1));
  assertEquals(taken(), [twoSequences("a"), requestOf("b", 1)]);
  requests.deliver([token("a", 0, 5), end("a", 1)]);
  requests.deliver([token("a", 0, 6)]);
  clock.advance(7);
  assertEquals(requests.disconnect(ERROR), { numKept: 2, numFailed: 0 });
  assertEquals(taken(), []);
  clock.advance(3);
  requests.connect();
  assertEquals(taken(), [
    {
      ...twoSequences("a"),
      resumed: {
        sequences: [
          { tokens: Uint32Array.of(5, 6), hasEnded: false },
          { tokens: Uint32Array.of(7), hasEnded: true },
        ],
        elapsedMs: 10,
      },
    },
    {
      ...requestOf("b", 1),
      resumed: { sequences: [{ tokens: new Uint32Array(), hasEnded: false }], elapsedMs: 10 },
    },
  ]);
  requests.accept("a");
  requests.accept("b");
  requests.deliver([end("a", 0), end("b", 0)]);
  assertEquals((await Array.fromAsync((await unanswered).events)).flat(), [end("b", 0)]);
  assertEquals(requests.size, 0);
});

Deno.test("InFlightRequests ends what is aborted while there is no engine, at once", async () => {
  const { requests, aborts, generation } = await withAccepted();
  requests.deliver([token("a", 0, 5)]);
  requests.disconnect(ERROR);
  generation.abort(1);
  assertEquals([requests.size, aborts], [1, []]);
  generation.abort();
  assertEquals([requests.size, aborts], [0, []]);
  assertEquals((await Array.fromAsync(generation.events)).flat(), [
    token("a", 0, 5),
    { requestId: "a", index: 1, finishReason: "abort" },
    { requestId: "a", index: 0, finishReason: "abort" },
  ]);
});

Deno.test("InFlightRequests does not replay what was aborted before the engine was lost", async () => {
  const { requests, aborts, taken, generation } = await withAccepted();
  generation.abort(0);
  requests.disconnect(ERROR);
  taken();
  requests.connect();
  assertEquals(aborts, [["a", 0]]);
  assertEquals(taken()[0]?.resumed?.sequences.map(({ hasEnded }) => hasEnded), [true, false]);
});

Deno.test("InFlightRequests ends the answers of a search together where there is no engine", async () => {
  const { requests } = table();
  const sequences = [...twoSequences("a").sequences, ...twoSequences("a").sequences];
  const beamSearch = { width: 2, lengthPenalty: 1, earlyStopping: false };
  const answer = requests.open({ id: "a", sequences, beamSearch });
  requests.accept("a");
  const generation = await answer;
  requests.disconnect(ERROR);
  generation.abort(3);
  generation.abort(0);
  const events = (await Array.fromAsync(generation.events)).flat();
  assertEquals(events.map(({ index }) => index), [2, 3, 0, 1]);
});

Deno.test("InFlightRequests tries what two engines were lost by alone, and gives it up after the third", async () => {
  const { requests, taken } = table();
  const ids = () => taken().map(({ id }) => id);
  const accepted = ["idle", "poison", "fine"].map((id) => {
    const answer = requests.open(requestOf(id, 1));
    requests.accept(id);
    return answer;
  });
  const lose = (...admitted: string[]) => {
    requests.admit(admitted);
    const lost = requests.disconnect(ERROR);
    requests.connect();
    return lost;
  };
  ids();
  lose("poison", "fine");
  assertEquals(ids(), ["idle", "poison", "fine"]);
  lose("poison", "fine");
  assertEquals(ids(), ["poison"], "one that was not admitted is not suspected");
  const late = requests.open(requestOf("late", 1));
  assertEquals(ids(), [], "what comes meanwhile waits");
  assertEquals(lose("poison"), { numKept: 3, numFailed: 1 });
  assertEquals(ids(), ["fine"]);
  requests.admit(["fine"]);
  requests.deliver([token("fine", 0, 5)]);
  assertEquals(ids(), ["idle", "late"]);
  lose("idle", "fine", "late");
  assertEquals(ids(), ["idle", "fine", "late"], "a token has cleared it");
  const { events } = await accepted[1]!;
  const [poisoned] = (await Array.fromAsync(events)).flat();
  assertEquals([poisoned?.finishReason, poisoned?.error?.code], ["error", "engine_lost"]);
  requests.failAll(ERROR);
  await assertRejects(() => late, EngineUnavailableError, "The engine stopped");
});

Deno.test("InFlightRequests goes on when the suspect ends or is left by its client", async () => {
  for (const how of ["ends", "is left"]) {
    const { requests, taken } = table();
    const answer = requests.open(requestOf("a", 1));
    requests.accept("a");
    const { abort } = await answer;
    for (let i = 0; i < 2; i++) {
      requests.admit(["a"]);
      requests.disconnect(ERROR);
      if (i === 0) requests.connect();
    }
    requests.open(requestOf("b", 1)).catch(() => {});
    taken();
    if (how === "is left") abort();
    requests.connect();
    if (how === "ends") requests.deliver([end("a", 0, "error")]);
    assertEquals(taken().map(({ id }) => id), how === "ends" ? ["a", "b"] : ["b"]);
  }
});

Deno.test("InFlightRequests.dropUnanswered() ends what the lost engine had admitted and got no token of", async () => {
  const { requests, taken } = table();
  for (const id of ["waits", "runs", "stalls"]) requests.open(requestOf(id, 1)).catch(() => {});
  requests.admit(["runs"]);
  requests.deliver([token("runs", 0, 5)]);
  requests.admit(["stalls", "runs"]);
  requests.disconnect(ERROR);
  requests.dropUnanswered(ERROR);
  taken();
  requests.connect();
  assertEquals(taken().map(({ id }) => id), ["waits", "runs"]);
  await Promise.resolve();
});

Deno.test("InFlightRequests ends what is held beyond its timeout, and hands on how much has passed", async () => {
  const { requests, taken, clock, numTimeouts } = table();
  const answers = [30, 50, undefined].map((timeoutMs, i) => {
    const timeout = timeoutMs === undefined ? {} : { timeoutMs };
    const answer = requests.open({ ...twoSequences(`r${i}`), ...timeout });
    requests.accept(`r${i}`);
    return answer;
  });
  clock.advance(10);
  requests.deliver([token("r0", 1, 5)]);
  assertEquals(clock.pendingMs, [], "the engine sees to deadlines itself");
  requests.disconnect(ERROR);
  assertEquals(clock.pendingMs, [20]);
  clock.advance(20);
  assertEquals([requests.size, numTimeouts(), clock.pendingMs], [2, 2, [20]]);
  const ends = (await Array.fromAsync((await answers[0]!).events)).flat().slice(1);
  assertEquals(ends.map(({ error }) => [error?.status, error?.code]), [
    [504, "deadline_exceeded"],
    [504, "deadline_exceeded"],
  ]);
  assertEquals(ends[0]?.error?.details, { timeout_seconds: 0.03, n_tokens: 1 });
  taken();
  requests.connect();
  assertEquals(taken().map(({ resumed }) => resumed?.elapsedMs), [30, 30]);
  assertEquals(clock.pendingMs, []);
});

Deno.test("InFlightRequests does not replay what the server asks for itself", async () => {
  const { requests, taken } = table();
  const answer = requests.open({ ...requestOf("reheat-0", 1), isReheat: true });
  taken();
  assertEquals(requests.disconnect(ERROR), { numKept: 0, numFailed: 1 });
  requests.connect();
  assertEquals(taken(), []);
  await assertRejects(() => answer, EngineUnavailableError, "The engine stopped");
});

Deno.test("InFlightRequests ends a request that the next engine refuses with its error", async () => {
  const { requests, generation } = await withAccepted();
  requests.deliver([end("a", 0)]);
  requests.disconnect(ERROR);
  requests.connect();
  requests.refuse("a", { ...ERROR, status: 400, code: "kv_cache_exceeded" });
  const [, last] = (await Array.fromAsync(generation.events)).flat();
  assertEquals([last?.index, last?.error?.code], [1, "kv_cache_exceeded"]);
  assertEquals(requests.size, 0);
});
