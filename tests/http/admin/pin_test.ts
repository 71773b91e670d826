import { assertEquals, assertNotEquals } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import { testServer } from "../server.ts";

Deno.test("POST /admin/kv/pins pins a text, ids or a conversation, and says how much of it", async () => {
  const server = testServer();
  const answer = await server.post("/admin/kv/pins", { name: "system", prompt: "Hello" });
  assertEquals(await answer.json(), {
    name: "system",
    n_blocks: 2,
    n_tokens: 32,
    n_prompt_tokens: 6,
    n_pinned_blocks: 5,
    max_pinned_blocks: 32,
  });
  await server.post("/admin/kv/pins", { name: "ids", prompt: [72, 73] });
  await server.post("/admin/kv/pins", {
    name: "chat",
    messages: [{ role: "system", content: "Be brief." }],
    cache_salt: "s",
  });
  const [text, ids, chat] = server.engine.commands as {
    tokens: Uint32Array;
    cacheScope?: string;
  }[];
  assertEquals([text!.cacheScope, ids!.tokens], [undefined, Uint32Array.of(72, 73)]);
  assertNotEquals(chat!.cacheScope, undefined);
});

Deno.test("POST /admin/kv/pins names what is wrong, and passes the engine's refusal on", async () => {
  const server = testServer();
  const bodies: [unknown, string][] = [
    [{ prompt: "x" }, "name"],
    [{ name: "a/b", prompt: "x" }, "name"],
    [{ name: "a" }, "prompt"],
    [{ name: "a", prompt: ["x"] }, "prompt.0"],
  ];
  for (const [body, param] of bodies) {
    const response = await server.post("/admin/kv/pins", body);
    assertEquals([response.status, (await response.json()).error.param], [400, param]);
  }
  assertEquals(server.engine.commands.length, 0);
  server.engine.refusal = new RequestError("Cannot pin 9 blocks", { code: "pin_limit_exceeded" });
  const refused = await server.post("/admin/kv/pins", { name: "a", prompt: "x" });
  assertEquals([refused.status, (await refused.json()).error.code], [400, "pin_limit_exceeded"]);
});

Deno.test("DELETE /admin/kv/pins/NAME takes a pin back, or says that there is none", async () => {
  const server = testServer();
  const remove = () => server.request("/admin/kv/pins/system", { method: "DELETE" });
  assertEquals((await remove()).status, 200);
  assertEquals(server.engine.commands, [{ type: "unpin_prefix", name: "/system" }]);
  server.engine.answers = { ...server.engine.answers, unpin_prefix: { wasPinned: false } };
  const missing = await remove();
  assertEquals([missing.status, (await missing.json()).error.code], [404, "not_found"]);
});

Deno.test("pins of one API key are apart from those of another, and made by an admin", async () => {
  const access = { apiKeys: ["a", "b"], adminKeys: ["admin"], hostname: "127.0.0.1" };
  const server = testServer({ access });
  for (const key of ["a", "b"]) {
    const headers = { authorization: "Bearer admin", "x-api-key": key };
    await server.post("/admin/kv/pins", { name: "x", prompt: "Hello" }, headers);
    const alone = await server.post("/admin/kv/pins", { name: "x", prompt: "Hello" }, {
      "x-api-key": key,
    });
    assertEquals(alone.status, 403);
    await alone.body?.cancel();
  }
  const [first, second] = server.engine.commands as { name: string; cacheScope?: string }[];
  assertEquals(server.engine.commands.length, 2);
  assertNotEquals(first!.name, second!.name);
  assertNotEquals(first!.cacheScope, second!.cacheScope);
  // The scope is the key's own: what its requests have cached is what is pinned.
  await server.post("/v1/completions", { prompt: "Hello" }, { "x-api-key": "a" });
  assertEquals(server.engine.requests.at(-1)!.cacheScope, first!.cacheScope);
});
