import { assertEquals, assertStringIncludes } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import { DEFAULT_LIMITS } from "../../../src/http/services.ts";
import { CHAT, testServer } from "../server.ts";

const PATH = "/v1/chat/completions";

Deno.test("priority and timeout go to the engine, as the request's own and in milliseconds", async () => {
  const server = testServer();
  for (const fields of [{ priority: -3, timeout: 2.5 }, { priority: null, timeout: null }, {}]) {
    await (await server.post(PATH, { ...CHAT, ...fields })).body?.cancel();
  }
  const scheduled = server.engine.requests.map((
    { requestPriority, timeoutMs },
  ) => [requestPriority, timeoutMs]);
  assertEquals(scheduled, [[-3, 2500], [undefined, undefined], [undefined, undefined]]);
  assertEquals(server.engine.requests[0]!.ownerPriority, undefined, "that is the key's");
});

Deno.test("the server's own timeout holds for all, and a request's where it is shorter", async () => {
  const limits = {
    ...DEFAULT_LIMITS,
    ...{ maxNumQueuedSeqs: 128, keepAliveMs: 15_000, requestTimeoutSeconds: 10 },
  };
  const server = testServer({ limits });
  for (const timeout of [3, 30, undefined]) {
    await (await server.post(PATH, { ...CHAT, timeout })).body?.cancel();
  }
  const timeouts = server.engine.requests.map(({ timeoutMs }) => timeoutMs);
  assertEquals(timeouts, [3000, 10_000, 10_000]);
});

Deno.test("a priority or timeout of another kind is refused by name", async () => {
  const server = testServer();
  for (const field of [{ priority: 1.5 }, { priority: "high" }, { timeout: 0 }, { timeout: 1e9 }]) {
    const response = await server.post(PATH, { ...CHAT, ...field });
    const { error } = await response.json();
    assertEquals([response.status, error.param], [400, Object.keys(field)[0]!]);
  }
  assertEquals(server.engine.requests, []);
});

Deno.test("a full queue's refusal says in its header when to come again", async () => {
  const server = testServer();
  server.engine.refusal = new RequestError("The queue is full", {
    ...{ status: 429, type: "rate_limit_error", code: "queue_full" },
    details: { retry_after_seconds: 17 },
  });
  const response = await server.post(PATH, CHAT);
  assertEquals([response.status, response.headers.get("retry-after")], [429, "17"]);
  assertStringIncludes((await response.json()).error.message, "queue is full");
});
