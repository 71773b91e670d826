import { assert, assertEquals } from "@std/assert";
import type { Services } from "../../../src/http/services.ts";
import { CHAT, testServer } from "../server.ts";

const KEYED = {
  access: {
    apiKeys: ["first-key", "second-key"],
    adminKeys: ["admin-key"],
    hostname: "127.0.0.1",
  },
};

const ADMIN_ROUTES = [
  ["POST", "/reset_prefix_cache"],
  ["GET", "/admin/kv/check"],
  ["POST", "/admin/kv/pins"],
  ["DELETE", "/admin/kv/pins/x"],
  ["POST", "/admin/kv/resize"],
  ["GET", "/admin/kv/curve"],
  ["GET", "/admin/kv/log"],
  ["GET", "/admin/kv/plan"],
  ["GET", "/admin/machine"],
  ["GET", "/admin/machine/path"],
  ["DELETE", "/admin/requests/x"],
  ["GET", "/kv/events"],
] as const;

Deno.test("gates take any of the keys in either header and in any case of the scheme", async () => {
  const server = testServer(KEYED);
  const accepted: Record<string, string>[] = [
    { authorization: "Bearer first-key" },
    { authorization: "bearer second-key" },
    { authorization: "BEARER   first-key" },
    { "x-api-key": "second-key" },
    { authorization: "Bearer wrong", "x-api-key": "first-key" },
  ];
  for (const headers of accepted) {
    assertEquals((await server.request("/v1/models", { headers })).status, 200);
  }
});

Deno.test("gates refuse everything else with 401 and says how to authenticate", async () => {
  const server = testServer(KEYED);
  const refused: Record<string, string>[] = [
    {},
    { authorization: "first-key" },
    { authorization: "Basic first-key" },
    { authorization: "Bearer " },
    { authorization: "Bearer first-ke" },
    { authorization: "Bearer first-keyy" },
    { authorization: "Bearer First-Key" },
    { authorization: "Bearer first-key,second-key" },
    { "x-api-key": "" },
    { "api-key": "first-key" },
  ];
  for (const headers of refused) {
    const response = await server.request("/v1/models", { headers });
    assertEquals(response.status, 401);
    assertEquals(response.headers.get("www-authenticate"), "Bearer");
    const text = await response.text();
    assertEquals(JSON.parse(text).error.code, "invalid_api_key");
    assert(!text.includes("first-key"));
  }
});

Deno.test("what matches no route is closed without a key, and told apart with one", async () => {
  const server = testServer(KEYED);
  for (const path of ["/x", "/v1//models", "/v1%2fmodels", "/Health", "/health/x", "/nothing"]) {
    for (const method of ["GET", "POST", "HEAD", "PUT", "DELETE"]) {
      const response = await server.request(path, { method });
      assertEquals(response.status, 401, `${method} ${path}`);
    }
    const known = await server.request(path, { headers: { "x-api-key": "first-key" } });
    assertEquals(known.status, 404, path);
  }
  // A method that a path does not take is as closed as a path that is not there.
  assertEquals((await server.request("/v1/models", { method: "PUT" })).status, 401);
});

Deno.test("gates let /health and its kind pass, with any query", async () => {
  const server = testServer(KEYED);
  for (
    const path of ["/health", "/health?verbose=1", "/health/", "/v1/health", "/ready", "/live"]
  ) {
    assertEquals((await server.request(path)).status, 200);
  }
});

Deno.test("requireAllowedHost() refuses foreign names while the server listens on loopback", async () => {
  const server = testServer();
  const statuses: Record<string, number> = {
    "localhost": 200,
    "localhost:8000": 200,
    "LOCALHOST:8000": 200,
    "127.0.0.1:8000": 200,
    "[::1]:8000": 200,
    "app.localhost": 200,
    "host.docker.internal:8000": 200,
    "gpu.corp.internal": 200,
    "printer.local": 200,
    "192.168.1.7:8000": 200,
    "[fe80::1]": 200,
    "notinternal": 403,
    "internal": 403,
    "local.evil.example": 403,
    "evil.example": 403,
    "evil.example:8000": 403,
    "localhost.evil.example": 403,
    "127.0.0.1.evil.example": 403,
    "evil-localhost": 403,
  };
  for (const [host, status] of Object.entries(statuses)) {
    const response = await server.request("/version", { headers: { host } });
    assertEquals(response.status, status, host);
    if (status === 403) assertEquals((await response.json()).error.code, "host_not_allowed");
    else await response.body?.cancel();
  }
});

Deno.test("requireAllowedHost() asks nothing of a server on other addresses", async () => {
  const server = testServer({ access: { apiKeys: [], adminKeys: [], hostname: "0.0.0.0" } });
  const response = await server.request("/version", { headers: { host: "gpu.example:8000" } });
  assertEquals(response.status, 200);
});

Deno.test("requireAllowedHost() also takes the names that are allowed, on every address", async () => {
  const ask = async (access: Services["access"], host: string) => {
    const response = await testServer({ access }).request("/version", { headers: { host } });
    await response.body?.cancel();
    return response.status;
  };
  for (const hostname of ["127.0.0.1", "0.0.0.0"]) {
    const allowedHosts = ["GPU.example", "*.quire.example"];
    const access = { ...KEYED.access, apiKeys: [], hostname, allowedHosts };
    for (const host of ["gpu.example:8000", "a.b.quire.example", "gpu.example.", "localhost"]) {
      assertEquals(await ask(access, host), 200, host);
    }
    for (const host of ["evil.example", "quire.example", "x.gpu.example", "xquire.example"]) {
      assertEquals(await ask(access, host), 403, host);
    }
    assertEquals(await ask({ ...access, allowedHosts: ["*"] }, "evil.example"), 200);
  }
});

Deno.test("allowOrigins() also lets the origins read that are allowed, by scheme or exactly", async () => {
  const corsOrigins = [
    "https://app.example",
    "tauri://localhost",
    "app://.",
    "chrome-extension://abcdef",
    "vscode-webview://*",
  ];
  const server = testServer({ access: { ...KEYED.access, apiKeys: [], corsOrigins } });
  const statuses: Record<string, boolean> = {
    "https://app.example": true,
    "HTTPS://APP.example": true,
    "tauri://localhost": true,
    "app://.": true,
    "chrome-extension://abcdef": true,
    "vscode-webview://0a1b": true,
    "http://localhost:3000": true,
    "http://app.example": false,
    "https://app.example:444": false,
    "https://app.example.evil.example": false,
    "chrome-extension://other": false,
    "tauri://evil": false,
    "null": false,
  };
  for (const [origin, isAllowed] of Object.entries(statuses)) {
    const response = await server.post("/tokenize", { prompt: "a" }, { origin });
    assertEquals(response.status, isAllowed ? 200 : 403, origin);
    const named = response.headers.get("access-control-allow-origin");
    assertEquals(named, isAllowed ? origin : null);
    await response.body?.cancel();
  }
  const open = testServer({ access: { ...KEYED.access, apiKeys: [], corsOrigins: ["*"] } });
  const response = await open.post("/tokenize", { prompt: "a" }, { origin: "https://any.example" });
  assertEquals(response.headers.get("access-control-allow-origin"), "https://any.example");
});

Deno.test("/metrics is open to those that the setting names", async () => {
  const who = [undefined, "first-key", "admin-key"];
  const statuses = {
    open: [200, 200, 200],
    key: [401, 200, 200],
    admin: [401, 403, 200],
    off: [401, 404, 404],
  } as const;
  for (const [metrics, expected] of Object.entries(statuses)) {
    const access = { ...KEYED.access, metrics: metrics as keyof typeof statuses };
    const server = testServer({ access });
    const seen = await Promise.all(who.map(async (key) => {
      const headers: Record<string, string> = key === undefined ? {} : { "x-api-key": key };
      return (await server.request("/metrics", { headers })).status;
    }));
    assertEquals(seen, [...expected], metrics);
  }
});

Deno.test("allowOrigins() lets local and own origins read answers, and no others", async () => {
  const server = testServer({ access: { apiKeys: [], adminKeys: [], hostname: "0.0.0.0" } });
  const allowed = ["http://localhost:5173", "https://127.0.0.1", "http://gpu.example:8000"];
  const refused = ["https://evil.example", "http://localhost.evil.example", "null", "file://x"];
  for (const origin of [...allowed, ...refused]) {
    const headers = { origin, host: "gpu.example:8000" };
    const response = await server.request("/version", { headers });
    const expected = allowed.includes(origin) ? origin : null;
    assertEquals(response.headers.get("access-control-allow-origin"), expected);
    assertEquals(response.headers.get("access-control-allow-credentials"), null);
    await response.body?.cancel();
  }
});

Deno.test("allowOrigins() tells caches of every answer that it depends on the origin", async () => {
  const server = testServer();
  const origin = "http://localhost:5173";
  const calls = [["GET", "/v1/models"], ["GET", "/nowhere"], ["PUT", "/v1/models"]] as const;
  for (const [method, path] of calls) {
    for (const headers of [{}, { origin }]) {
      const response = await server.request(path, { method, headers });
      await response.text();
      assertEquals(response.headers.get("vary"), "Origin", `${method} ${path}`);
      const isExposed = response.headers.get("access-control-expose-headers") !== null;
      assertEquals(isExposed, "origin" in headers, `${method} ${path}`);
    }
  }
  const stream = await server.post("/v1/chat/completions", { ...CHAT, stream: true });
  await stream.text();
  assertEquals(stream.headers.get("vary"), "Origin");
});

Deno.test("allowOrigins() answers a preflight before any key is asked for", async () => {
  const response = await testServer(KEYED).request("/v1/chat/completions", {
    method: "OPTIONS",
    headers: {
      "origin": "http://localhost:5173",
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type",
    },
  });
  assertEquals(response.status, 204);
  assertEquals(response.headers.get("access-control-allow-origin"), "http://localhost:5173");
  assertEquals(response.headers.get("access-control-allow-headers"), "authorization,content-type");
});

Deno.test("admin routes open to an admin key alone, where keys are asked for", async () => {
  for (const [method, path] of ADMIN_ROUTES) {
    const server = testServer(KEYED);
    const ask = async (headers: Record<string, string>) => {
      const response = await server.request(path, { method, headers });
      await response.body?.cancel();
      return response.status;
    };
    assertEquals(await ask({}), 401, path);
    assertEquals(await ask({ "x-api-key": "wrong" }), 401, path);
    assertEquals(await ask({ "x-api-key": "first-key" }), 403, path);
    const status = await ask({ authorization: "Bearer admin-key" });
    assert(status !== 401 && status !== 403, `${path} ${status}`);
  }
});

Deno.test("without an admin key, admin routes answer on loopback without API keys only", async () => {
  const open = { apiKeys: [], adminKeys: [], hostname: "127.0.0.1" };
  const cases: [typeof KEYED.access | typeof open, Record<string, string>, boolean][] = [
    [open, {}, true],
    [{ ...open, hostname: "0.0.0.0" }, {}, false],
    [{ ...KEYED.access, adminKeys: [] }, { "x-api-key": "first-key" }, false],
    [{ ...open, adminKeys: ["admin-key"] }, {}, false],
    [{ ...open, adminKeys: ["admin-key"] }, { "x-api-key": "admin-key" }, true],
  ];
  for (const [access, headers, isOpen] of cases) {
    const response = await testServer({ access }).request("/admin/kv/check", { headers });
    assertEquals(response.status === 200, isOpen, JSON.stringify([access, headers]));
    await response.body?.cancel();
  }
  // What needs no admin stays open where no key is asked for.
  const server = testServer({ access: { ...open, adminKeys: ["admin-key"] } });
  assertEquals((await server.request("/v1/models")).status, 200);
});

Deno.test("a foreign page changes nothing: its Origin is refused, whatever the route", async () => {
  const server = testServer();
  for (const origin of ["https://evil.example", "null", "http://localhost.evil.example"]) {
    for (const [method, path] of [...ADMIN_ROUTES, ["POST", "/v1/completions"] as const]) {
      if (method === "GET") continue;
      const response = await server.request(path, { method, headers: { origin } });
      assertEquals(response.status, 403, `${method} ${path}`);
      assertEquals((await response.json()).error.code, "origin_not_allowed");
    }
  }
  assertEquals(server.engine.commands, []);
  for (const origin of ["http://localhost:5173", "http://localhost"]) {
    const response = await server.request("/reset_prefix_cache", {
      method: "POST",
      headers: { origin },
    });
    assertEquals(response.status, 200);
    await response.body?.cancel();
  }
});
