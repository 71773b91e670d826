import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { CHAT, listen, testServer } from "./server.ts";

Deno.test("createApp() answers an unknown path with 404 and a hint where /v1 is doubled or too much", async () => {
  const server = testServer();
  const hints: Record<string, string | undefined> = {
    "/v1/v1/models": "/v1/models",
    "/v1/metrics": "/metrics",
    "/v1/admin/kv/log": "/admin/kv/log",
    "/nothing": undefined,
  };
  for (const [path, hint] of Object.entries(hints)) {
    const response = await server.request(path);
    const { error } = await response.json();
    assertEquals([response.status, error.code], [404, "not_found"]);
    assertEquals(/did you mean (\S+)\?$/.exec(error.message)?.[1], hint);
  }
});

Deno.test("createApp() takes paths without /v1, with it where others have it, and slashes at the end", async () => {
  const server = testServer();
  const get = ["/models", "/models/quire/test", "/v1/models/", "/v1/health", "/health/", "/ready/"];
  for (const path of get) {
    for (const method of ["GET", "HEAD"]) {
      const response = await server.request(path, { method });
      assertEquals(response.status, 200, `${method} ${path}`);
      assertEquals(await response.text() === "", method === "HEAD");
    }
  }
  const post: Record<string, object> = {
    "/chat/completions": CHAT,
    "/v1/chat/completions/": CHAT,
    "/completions": { prompt: "a" },
    "/v1/tokenize": { prompt: "a" },
    "/tokenize/": { prompt: "a" },
    "/v1/detokenize": { tokens: [1] },
  };
  for (const [path, body] of Object.entries(post)) {
    assertEquals((await server.post(path, body)).status, 200, path);
  }
});

Deno.test("createApp() answers a wrong method with 405 and Allow", async () => {
  const server = testServer();
  const allowed = {
    "/v1/chat/completions": "POST",
    "/v1/completions": "POST",
    "/tokenize": "POST",
    "/detokenize": "POST",
    "/v1/models": "GET, HEAD",
    "/v1/models/quire/test": "GET, HEAD",
    "/health": "GET, HEAD",
    "/metrics": "GET, HEAD",
    "/version": "GET, HEAD",
  };
  for (const [path, allow] of Object.entries(allowed)) {
    const response = await server.request(path, { method: "DELETE" });
    assertEquals([response.status, response.headers.get("allow")], [405, allow]);
    assertEquals((await response.json()).error.code, "method_not_allowed");
  }
});

Deno.test("createApp() refuses a large body with 413, announced or not", async () => {
  const server = testServer();
  await using listening = await listen(server);
  const big = JSON.stringify({ ...CHAT, padding: "x".repeat(100_000) });
  const headers = { "content-type": "application/json" };
  const bodies = { announced: big, chunked: new Blob([big]).stream() };
  for (const [name, body] of Object.entries(bodies)) {
    const url = `${listening.url}/v1/chat/completions`;
    const response = await fetch(url, { method: "POST", body, headers });
    assertEquals([response.status, (await response.json()).error.code], [
      413,
      "request_too_large",
    ], name);
  }
  assertEquals(server.engine.requests.length, 0);
});

Deno.test("createApp() gives every answer a request id, the client's own where it is one", async () => {
  const server = testServer();
  const id = async (headers: HeadersInit, path = "/health") => {
    const response = await server.request(path, { headers });
    await response.body?.cancel();
    return response.headers.get("x-request-id");
  };
  assertEquals(await id({ "x-request-id": "mine-1" }), "mine-1");
  assertEquals(await id({ "x-request-id": "mine-2" }, "/nothing"), "mine-2");
  assertMatch(await id({}) ?? "", /^[\w-]{36}$/);
  assertNotEquals(await id({ "x-request-id": "no spaces" }), "no spaces");
});

Deno.test("createApp() logs requests without a word of prompt or answer", async () => {
  const server = testServer();
  const secret = "xyzzy-prompt";
  const messages = [{ role: "user", content: secret }];
  await (await server.post("/v1/chat/completions", { messages })).text();
  await (await server.post("/v1/chat/completions", { messages, stream: true })).text();
  await (await server.post("/v1/chat/completions", { messages: [secret] })).text();
  await (await server.request("/health")).text();
  const lines = server.log.filter(({ message }) => message === "request");
  assertEquals(lines.map(({ level, status }) => [level, status]), [
    ["info", 200],
    ["info", 200],
    ["info", 400],
    ["debug", 200],
  ]);
  assert(!JSON.stringify(server.log).includes(secret));
  assert(!JSON.stringify(server.log).includes("Hello"));
});
