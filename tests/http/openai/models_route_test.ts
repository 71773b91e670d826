import { assertEquals } from "@std/assert";
import { testServer } from "../server.ts";

Deno.test("modelsRoute() lists every served name with the lengths clients look for", async () => {
  const { object, data } = await (await testServer().request("/v1/models")).json();
  assertEquals([object, data.length, data[1].id], ["list", 2, "alias"]);
  assertEquals(data[0], {
    id: "quire/test",
    object: "model",
    created: 1_700_000_000,
    owned_by: "quire",
    root: "quire/test",
    parent: null,
    max_model_len: 256,
    meta: { n_ctx_train: 512, n_ctx: 256, n_vocab: 264, n_params: 1000, size: 2000 },
  });
});

Deno.test("modelsRoute() lists what is known before the engine is ready", async () => {
  const server = testServer();
  server.engine.state = "starting";
  server.engine.info = undefined;
  const { data } = await (await server.request("/v1/models")).json();
  assertEquals([data[0].max_model_len, data[0].meta], [undefined, { n_ctx_train: 512 }]);
});

Deno.test("modelRoute() finds names with slashes, escaped or not", async () => {
  const server = testServer();
  for (const path of ["quire/test", "quire%2Ftest", "quire%2ftest"]) {
    const response = await server.request(`/v1/models/${path}`);
    assertEquals([response.status, (await response.json()).id], [200, "quire/test"]);
  }
  for (const path of ["quire", "quire/test/x", "%ff", "quire%252Ftest"]) {
    const response = await server.request(`/v1/models/${path}`);
    assertEquals([response.status, (await response.json()).error.code], [404, "model_not_found"]);
  }
  const broken = await server.request("/v1/models/%");
  assertEquals([broken.status, (await broken.json()).error.code], [400, "invalid_target"]);
});

Deno.test("GET /v1/models/ lists like /v1/models, and HEAD answers like GET without a body", async () => {
  const server = testServer();
  const list = await (await server.request("/v1/models")).json();
  assertEquals(await (await server.request("/v1/models/")).json(), list);
  for (const path of ["/v1/models", "/v1/models/", "/v1/models/alias", "/health", "/version"]) {
    const head = await server.request(path, { method: "HEAD" });
    const get = await server.request(path);
    assertEquals([head.status, await head.text()], [200, ""], path);
    assertEquals(head.headers.get("content-type"), get.headers.get("content-type"));
    await get.body?.cancel();
  }
});

Deno.test("HEAD on a stream of events ends the stream", async () => {
  const server = testServer();
  const { kvEvents } = server.engine;
  const follow = kvEvents.follow.bind(kvEvents);
  let followed: AbortSignal | undefined;
  kvEvents.follow = (from, signal) => follow(from, followed = signal);
  const head = await server.request("/kv/events?from=0", { method: "HEAD" });
  assertEquals([head.status, await head.text()], [200, ""]);
  assertEquals(followed?.aborted, true);
});
