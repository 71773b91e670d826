import { assertEquals } from "@std/assert";
import { testServer } from "./server.ts";

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
  for (const path of ["quire", "quire/test/x", "%", "%ff", "quire%252Ftest"]) {
    const response = await server.request(`/v1/models/${path}`);
    assertEquals([response.status, (await response.json()).error.code], [404, "model_not_found"]);
  }
});
