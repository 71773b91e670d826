import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { EngineUnavailableError, RequestError } from "../../src/core/errors.ts";
import type { GenerationRequest } from "../../src/core/generation.ts";
import type { FinishReason } from "../../src/core/token_event.ts";
import { InFlightRequests } from "../../src/engine/in_flight_requests.ts";
import { requestOf } from "../support/requests.ts";

const ERROR = {
  status: 503,
  type: "server_error",
  code: null,
  message: "The engine stopped",
  param: null,
};

function twoSequences(id: string): GenerationRequest {
  return { id, sequences: [...requestOf(id, 1).sequences, ...requestOf(id, 1).sequences] };
}

function end(requestId: string, index: number, finishReason: FinishReason = "stop") {
  return { requestId, index, token: 7, finishReason };
}

/** A table with one accepted request of two sequences, and the aborts it asked for. */
async function withAccepted() {
  const aborts: (string | number | undefined)[][] = [];
  const requests = new InFlightRequests((id, index) => aborts.push([id, index]));
  const answer = requests.open(twoSequences("a"));
  requests.accept("a");
  return { requests, aborts, generation: await answer };
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
  const requests = new InFlightRequests(() => {});
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
