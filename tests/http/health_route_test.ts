import { assertEquals, assertStringIncludes } from "@std/assert";
import { testServer } from "./server.ts";

Deno.test("healthRoute() answers 200 only while requests are taken", async () => {
  const server = testServer();
  const ready = await server.request("/health");
  assertEquals([ready.status, await ready.json()], [200, { status: "ok", state: "ready" }]);
  server.engine.failure = "The device was lost";
  for (const state of ["starting", "restarting", "draining", "failed"] as const) {
    server.engine.state = state;
    const response = await server.request("/health");
    const body = await response.json();
    assertEquals([response.status, body.state], [503, state]);
    assertEquals(response.headers.get("retry-after"), "5");
    assertStringIncludes(body.reason, "The device was lost");
    assertEquals(body.error.code, "engine_unavailable");
  }
});

Deno.test("healthRoute() says what has been lost, what is kept, and when another engine is tried", async () => {
  const server = testServer();
  server.engine.state = "restarting";
  Object.defineProperty(server.engine, "numInFlight", { value: 3 });
  const outage = { elapsedMs: 1500, numFailures: 2, maxNumFailures: 5, nextTryMs: 250 };
  const told = async () => (await (await server.request("/health")).json()).outage;
  server.engine.outage = outage;
  const words = { seconds: 1.5, failures_in_a_row: 2, requests_kept: 3 };
  assertEquals(await told(), { ...words, failures_allowed: 5, next_try_in_seconds: 0.25 });
  server.engine.outage = { elapsedMs: 1500, numFailures: 2 };
  assertEquals(await told(), words);
});

Deno.test("healthRoute() says what is not as it was configured, also while requests are taken", async () => {
  const server = testServer();
  server.engine.notice = "The KV pool has 5 blocks";
  const body = { status: "ok", state: "ready", notice: "The KV pool has 5 blocks" };
  assertEquals(await (await server.request("/health")).json(), body);
  server.engine.state = "restarting";
  assertEquals((await (await server.request("/health")).json()).notice, body.notice);
});

Deno.test("liveRoute() answers 503 only where another process is needed, /ready like /health", async () => {
  const server = testServer();
  for (const state of ["starting", "ready", "restarting", "draining", "failed"] as const) {
    server.engine.state = state;
    const live = await server.request("/live");
    assertEquals([live.status, (await live.json()).state], [state === "failed" ? 503 : 200, state]);
    assertEquals((await server.request("/ready")).status, state === "ready" ? 200 : 503);
  }
});

Deno.test("metricsRoute() answers in Prometheus's text format", async () => {
  const response = await testServer().request("/metrics");
  assertEquals(response.status, 200);
  assertStringIncludes(response.headers.get("content-type") ?? "", "text/plain; version=0.0.4");
  assertStringIncludes(await response.text(), "# TYPE vllm:num_requests_running gauge");
});

Deno.test("versionRoute() answers with the version", async () => {
  assertEquals(await (await testServer().request("/version")).json(), { version: "1.2.3" });
});

Deno.test("GET /health says for how long a step takes, and not what blocks it, which names requests", async () => {
  const server = testServer();
  server.engine.stall = { seconds: 31, reason: "r[0] waits" };
  const response = await server.request("/health");
  assertEquals([response.status, await response.json()], [200, {
    ...{ status: "ok", state: "ready", stalled_seconds: 31 },
  }]);
});
