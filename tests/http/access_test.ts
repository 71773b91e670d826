import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { isLoopback } from "../../src/http/access.ts";
import { listen, testServer } from "./server.ts";

const KEYED = { access: { apiKeys: ["first-key", "second-key"], hostname: "127.0.0.1" } };

Deno.test("requireApiKey() takes any of the keys in either header and in any case of the scheme", async () => {
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

Deno.test("requireApiKey() refuses everything else with 401 and says how to authenticate", async () => {
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

Deno.test("requireApiKey() leaves no way around for odd paths and methods", async () => {
  const server = testServer(KEYED);
  const paths = [
    "/",
    "//v1/models",
    "/v1//models",
    "/v1%2fmodels",
    "/%761/models",
    "/v1/models/",
    "/v1/models/.",
    "/v1/models/../models",
    "/v1/models?x=/health",
    "/health/../v1/models",
    "/health/..%2fv1/models",
    "/health/",
    "//health",
    "/%68ealth",
    "/Health",
    "/health;v1",
    "/metrics",
    "/version",
    "/tokenize",
    "/nothing",
  ];
  for (const path of paths) {
    for (const method of ["GET", "POST", "HEAD", "PUT", "DELETE"]) {
      const response = await server.request(path, { method });
      assertEquals(response.status, 401, `${method} ${path}`);
    }
  }
});

Deno.test("requireApiKey() holds against raw request targets on a real socket", async () => {
  const server = testServer(KEYED);
  await using listening = listen(server);
  for (
    const target of ["//v1/models", "/v1%2fmodels", "/x/../v1/models", "http://localhost/version"]
  ) {
    using conn = await Deno.connect({ port: listening.port, hostname: "127.0.0.1" });
    const head = `GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
    await conn.write(new TextEncoder().encode(head));
    const buffer = new Uint8Array(64);
    const length = await conn.read(buffer) ?? 0;
    assertStringIncludes(new TextDecoder().decode(buffer.subarray(0, length)), " 401 ");
  }
});

Deno.test("requireApiKey() lets /health pass, with any query", async () => {
  const server = testServer(KEYED);
  for (const path of ["/health", "/health?verbose=1"]) {
    assertEquals((await server.request(path)).status, 200);
  }
});

Deno.test("requireLocalHost() refuses foreign names while the server listens on loopback", async () => {
  const server = testServer();
  const statuses: Record<string, number> = {
    "localhost": 200,
    "localhost:8000": 200,
    "LOCALHOST:8000": 200,
    "127.0.0.1:8000": 200,
    "[::1]:8000": 200,
    "app.localhost": 200,
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

Deno.test("requireLocalHost() asks nothing of a server on other addresses", async () => {
  const server = testServer({ access: { apiKeys: [], hostname: "0.0.0.0" } });
  const response = await server.request("/version", { headers: { host: "gpu.example:8000" } });
  assertEquals(response.status, 200);
});

Deno.test("allowLocalOrigins() lets local and own origins read answers, and no others", async () => {
  const server = testServer({ access: { apiKeys: [], hostname: "0.0.0.0" } });
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

Deno.test("allowLocalOrigins() answers a preflight before any key is asked for", async () => {
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

Deno.test("isLoopback() knows the names and addresses of this machine", () => {
  for (const host of ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]", "a.localhost"]) {
    assert(isLoopback(host), host);
  }
  for (const host of ["0.0.0.0", "::", "192.168.0.1", "localhost.example", "1127.0.0.1", ""]) {
    assert(!isLoopback(host), host);
  }
});
