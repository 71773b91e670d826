import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { CHAT, testServer } from "../server.ts";

const KEYED = {
  access: { apiKeys: ["a", "b", "a1"], adminKeys: [], hostname: "127.0.0.1" },
};

/** The scope under which the engine was asked, for a request with this key and salt. */
async function scopeOf(
  key: string | undefined,
  salt: unknown,
  overrides: Parameters<typeof testServer>[0] = {},
): Promise<string | undefined> {
  const server = testServer({ ...(key === undefined ? {} : KEYED), ...overrides });
  const response = await server.request("/v1/chat/completions", {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    },
    body: JSON.stringify({ ...CHAT, cache_salt: salt }),
  });
  assertEquals(response.status, 200);
  await response.body?.cancel();
  return server.engine.requests[0]!.cacheScope;
}

Deno.test("cacheScope() is open without key and salt, and apart for each key and salt", async () => {
  assertEquals(await scopeOf(undefined, undefined), undefined);
  assertEquals(await scopeOf(undefined, null), undefined);
  const scopes = await Promise.all([
    scopeOf("a", undefined),
    scopeOf("b", undefined),
    scopeOf("a", "x"),
    scopeOf("b", "x"),
    scopeOf(undefined, "x"),
    // Lengths are part of what is hashed: these pairs read the same when joined.
    scopeOf("a1", "x"),
    scopeOf("a", "1x"),
  ]);
  assertEquals(new Set(scopes).size, scopes.length);
  assert(scopes.every((scope) => scope !== undefined && /^[0-9a-f]{64}$/.test(scope)));
});

Deno.test("cacheScope() is the same for the same key, salt and secret, and another under another secret", async () => {
  assertEquals(await scopeOf("a", "x"), await scopeOf("a", "x"));
  const cacheSecret = new Uint8Array(32).fill(9);
  assertNotEquals(await scopeOf("a", "x"), await scopeOf("a", "x", { cacheSecret }));
});

Deno.test("cacheScope() comes from the key that was accepted, whichever header holds it", async () => {
  const server = testServer(KEYED);
  for (const headers of [{ "x-api-key": "b" }, { "x-api-key": "b", authorization: "Bearer no" }]) {
    const response = await server.request("/v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json", ...headers } as Record<string, string>,
      body: JSON.stringify(CHAT),
    });
    await response.body?.cancel();
  }
  const [first, second] = server.engine.requests.map(({ cacheScope }) => cacheScope);
  assertEquals(first, second);
  assertEquals(first, await scopeOf("b", undefined));
});

Deno.test("requestOwner() is one name per API key, whatever the salt, and none where no key is asked for", async () => {
  const ownerOf = async (key: string, cache_salt?: string) => {
    const server = testServer(KEYED);
    const response = await server.post("/v1/chat/completions", { ...CHAT, cache_salt }, {
      authorization: `Bearer ${key}`,
    });
    await response.body?.cancel();
    return server.engine.requests[0]!;
  };
  const requests = [await ownerOf("a"), await ownerOf("a", "x"), await ownerOf("b")];
  const owners = requests.map(({ owner }) => owner);
  assert(owners.every((owner) => owner !== undefined && /^[0-9a-f]{64}$/.test(owner)));
  assertEquals(owners[0], owners[1]);
  assertNotEquals(owners[0], owners[2]);
  assertNotEquals(owners[0], requests[0]!.cacheScope);
  const open = testServer();
  const response = await open.post("/v1/chat/completions", CHAT, { authorization: "Bearer any" });
  await response.body?.cancel();
  assertEquals(open.engine.requests[0]!.owner, undefined);
});

Deno.test("a bad cache_salt is refused by name", async () => {
  const server = testServer();
  for (const cache_salt of ["", 5, "x".repeat(1025), ["x"]]) {
    const response = await server.request("/v1/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...CHAT, cache_salt }),
    });
    assertEquals([response.status, (await response.json()).error.param], [400, "cache_salt"]);
  }
  assertEquals(server.engine.requests.length, 0);
});

Deno.test("cache_retention reaches the engine, and is refused out of its bounds", async () => {
  const server = testServer();
  const ask = (cache_retention: unknown) =>
    server.post("/v1/chat/completions", { ...CHAT, cache_retention });
  await (await ask({ priority: 90, duration_ms: 5000 })).body?.cancel();
  await (await ask({ priority: 0 })).body?.cancel();
  assertEquals(server.engine.requests.map(({ cacheRetention }) => cacheRetention), [
    { priority: 90, durationMs: 5000 },
    { priority: 0 },
  ]);
  const bad = await ask({ priority: 101 });
  assertEquals([bad.status, (await bad.json()).error.param], [400, "cache_retention.priority"]);
});
