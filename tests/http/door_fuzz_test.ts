import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { runs } from "../support/runs.ts";
import { CHAT, testServer } from "./server.ts";

const KEYS = { apiKeys: ["key"], adminKeys: ["admin"], hostname: "127.0.0.1" };
/** What answers without a key; preflights do as well. */
const OPEN_PATHS = new Set([
  "/",
  "/health",
  "/v1/health",
  "/ready",
  "/live",
  "/openapi.json",
  "/docs",
]);
const METHODS = ["GET", "POST", "HEAD", "DELETE", "PUT", "PATCH", "OPTIONS"];

const templates = testServer().app.routes.filter(({ method }) => method !== "ALL")
  .map(({ path }) => path.replace(/:\w+(\{.*\})?/, "name"));

/** A route's path, or one that looks like it. */
const paths = fc.record({
  path: fc.constantFrom(...new Set(templates)),
  front: fc.oneof(
    { weight: 6, arbitrary: fc.constant("") },
    fc.constantFrom("/v1", "/health", "/api", "/.", "/docs/", "/%2e%2e"),
  ),
  end: fc.oneof(
    { weight: 6, arbitrary: fc.constant("") },
    fc.constantFrom("/", "?key=key", "/health", ";/health", "%2f", "?x=/health", "/..", "//"),
  ),
}).map(({ front, path, end }) => `http://localhost${front}${path}${end}`);

/** Headers that are no key of the server's, and those that say whose page or host it is. */
const headers = fc.dictionary(
  fc.constantFrom(
    "authorization",
    "x-api-key",
    "api-key",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-http-method-override",
    "x-original-url",
    "cookie",
    "origin",
    "host",
    "content-encoding",
    "content-type",
    "content-length",
    "access-control-request-method",
  ),
  fc.constantFrom(
    "Bearer wrong",
    "Bearer",
    "Bearer key2",
    "Basic a2V5",
    "key ",
    "KEY",
    "adminadmin",
    "null",
    "127.0.0.1",
    "localhost",
    "http://localhost",
    "tauri://localhost",
    "gzip",
    "br",
    "zstd",
    "identity",
    "application/json",
    "text/plain",
    "GET",
    "/health",
    "0",
    "-1",
  ),
  { maxKeys: 4 },
);

const requests = fc.record({
  path: paths,
  method: fc.constantFrom(...METHODS),
  headers,
  body: fc.constantFrom(
    JSON.stringify({
      ...CHAT,
      model: "alias",
      max_tokens: 4,
      prompt: "a",
      input: "a",
      tokens: [1],
    }),
    "{}",
    "[",
    "",
  ),
});

type Parts = typeof requests extends fc.Arbitrary<infer T> ? T : never;

function initOf({ method, headers, body }: Parts): RequestInit {
  return { method, headers, ...(method === "GET" || method === "HEAD" ? {} : { body }) };
}

/** The path that the router matches, as Hono sees it: without the query, and a slash at its end. */
function plain(path: string): string {
  const bare = new URL(path).pathname;
  return bare.length > 1 ? bare.replace(/\/$/, "") : bare;
}

Deno.test("no request opens a closed path without a key, whatever it looks like", async () => {
  const server = testServer({ access: KEYS });
  let numRefused = 0;
  await fc.assert(
    fc.asyncProperty(requests, async (parts) => {
      // The fuzzer knows no key; "key " is trimmed to one by the header's own rules.
      const given = Object.entries(parts.headers);
      fc.pre(!given.some(([name, value]) => name === "x-api-key" && value.trim() === "key"));
      const response = await server.request(parts.path, initOf(parts));
      await response.body?.cancel();
      const { status } = response;
      const path = plain(parts.path);
      if (OPEN_PATHS.has(path) || path.startsWith("/window/") || parts.method === "OPTIONS") return;
      assert([400, 401, 403].includes(status), `${parts.method} ${parts.path}: ${status}`);
      numRefused++;
    }),
    { seed: 11, numRuns: runs(10_000) },
  );
  assertEquals([server.engine.requests, server.engine.commands], [[], []]);
  assert(numRefused > 0);
});

Deno.test("no request of a holder of keys fails the server, on any path, by any method", async () => {
  const server = testServer({ access: KEYS });
  const seen = new Set<number>();
  await fc.assert(
    fc.asyncProperty(requests, async (parts) => {
      const init = initOf(parts);
      const authorized = { ...parts.headers, authorization: "Bearer admin" };
      // These would stream for ever, as they should.
      fc.pre(!["/kv/events", "/admin/machine"].some((path) => plain(parts.path).endsWith(path)));
      const response = await server.request(parts.path, { ...init, headers: authorized });
      await response.text();
      seen.add(response.status);
      assert(response.status < 500, `${parts.method} ${parts.path}: ${response.status}`);
    }),
    { seed: 12, numRuns: runs(10_000) },
  );
  assertEquals(server.log.filter(({ level }) => level === "error"), []);
  for (const status of [200, 400, 403, 404, 405, 415]) assert(seen.has(status), `no ${status}`);
});
