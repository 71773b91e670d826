import { assert, assertEquals } from "@std/assert";
import { exchange } from "../../support/raw_http.ts";
import { cases } from "../../support/runs.ts";
import { listen, listenByDeno, testServer } from "../server.ts";

/**
 * Ways to write a target so that one parser reads `path` in it and another one `/health`, which
 * answers without a key; `{}` stands for the path.
 */
const TARGETS = [
  "{}",
  "{}?x=/health",
  "{}#/health",
  "{}?#/health",
  "/health/..{}",
  "/health/%2e%2e{}",
  "/health/.%2E{}",
  "/health\\..{}",
  "/health%5c..{}",
  "/health;{}",
  "/health#{}",
  "/health%23{}",
  "/health%3f{}",
  "/health%2f..{}",
  "{}/../../../../../health",
  "{}/..\\..\\..\\..\\health",
  "{}/%2e%2e/%2e%2e/%2e%2e/health",
  "{}/..;/..;/health",
  "{}%00/health",
  "{};/health",
  "/{}",
  "//health{}",
  "\\{}",
  "/./{}",
  "http://localhost{}",
  "http://a\\health?{}",
  "http://a/health?@localhost{}",
  "HTTP://LOCALHOST{}",
  "http:{}",
  "*",
];

/** Hosts of the same kind; with the plain target. */
const HOSTS = [
  "a\\health?",
  "a\\health?.localhost",
  "a\\health#",
  "localhost/health?",
  "localhost\\health?",
  "localhost#",
  "localhost?",
  "localhost/health#",
  "x@localhost",
  "localhost:80@evil.example",
  "localhost:8000/health?",
  "[::1]\\health?",
  "127.0.0.1:99999",
  "127.999.1.1",
  "",
];

/** Routes that answer without a key. */
const OPEN_PATHS = [
  "/health",
  "/v1/health",
  "/ready",
  "/live",
  "/openapi.json",
  "/docs",
  "/",
  "/window/:file{.+}",
];

/** Every route that a key stands before, with what stands in place of its parameters. */
function closedRoutes(app: ReturnType<typeof testServer>["app"]): [string, string][] {
  const routes = app.routes
    .filter(({ method, path }) => method !== "ALL" && !OPEN_PATHS.includes(path))
    .map(({ method, path }) => `${method} ${path.replace(/:\w+(\{.*\})?/, "name")}`);
  return [...new Set(routes)].map((route) => route.split(" ") as [string, string]);
}

const ACCESS = { apiKeys: ["key"], adminKeys: ["admin"], hostname: "127.0.0.1" };

/** How a request is answered that carries no key and asks for `target` of `host`. */
async function statusOf(port: number, method: string, target: string, host: string) {
  const body = '{"prompt": "a", "name": "x"}';
  const head = `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n` +
    `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  return (await exchange(port, head)).status;
}

for (const [name, open] of [["node:http", listen], ["Deno.serve", listenByDeno]] as const) {
  Deno.test(`no spelling of target or Host opens a route without its key (${name})`, async () => {
    const server = testServer({ access: ACCESS });
    await using listening = await open(server);
    const all = closedRoutes(server.app);
    assert(all.length >= 40, `${all.length} routes`);
    // A route's path without /v1, or with one, has the gate of the other.
    const paths = new Set(all.map(([, path]) => path));
    const routes = cases(all.filter(([, path]) => !paths.has(`/v1${path}`)), 12);
    for (const [method, path] of all) {
      assertEquals(await statusOf(listening.port, method, path, "localhost"), 401, path);
    }
    assert(TARGETS.length + HOSTS.length >= 40);
    for (const [method, path] of routes) {
      for (const spelling of TARGETS) {
        const target = spelling.replace("{}", path);
        const status = await statusOf(listening.port, method, target, "localhost");
        assert([400, 401, 403, 404].includes(status), `${method} ${target}: ${status}`);
      }
      for (const host of HOSTS) {
        const status = await statusOf(listening.port, method, path, host);
        assertEquals(status, 400, `${method} ${path} of ${host}`);
      }
    }
    assertEquals([server.engine.requests, server.engine.commands], [[], []]);
    // The plain spelling is answered, and not as a mistake.
    assertEquals(await statusOf(listening.port, "GET", "/v1/models", "localhost"), 401);
    assertEquals(await statusOf(listening.port, "GET", "/health", "localhost:1"), 200);
  });
}
