import { assertEquals } from "@std/assert";
import { testServer } from "../server.ts";

const PATH = "/admin/kv/plan";

Deno.test("kvPlanRoute() plans for the running pool and model where nothing is asked", async () => {
  const server = testServer();
  const { kvCacheBytes, blockSize, maxNumBatchedTokens, maxModelLen, kvCacheDtype } = server.engine
    .info!;
  const response = await server.request(PATH);
  assertEquals(response.status, 200);
  assertEquals((await response.json()).query, {
    memoryBytes: kvCacheBytes,
    blockSize,
    maxNumBatchedTokens,
    dtype: kvCacheDtype,
    maxModelLen,
  });
});

Deno.test("kvPlanRoute() plans for the memory and the preset that are asked for", async () => {
  const response = await testServer().request(`${PATH}?memory=1.5GiB&preset=tiny-llama`);
  const { query } = await response.json();
  assertEquals(
    [query.memoryBytes, query.preset, query.maxModelLen],
    [1.5 * 2 ** 30, "tiny-llama", undefined],
  );
});

Deno.test("kvPlanRoute() refuses a memory that is no size, with limits and value", async () => {
  for (const memory of ["", "0", "8GB", "-1", "9007199254740992", "1e9"]) {
    const response = await testServer().request(`${PATH}?memory=${memory}`);
    const { error } = await response.json();
    assertEquals([response.status, error.param, error.code], [400, "memory", "invalid_value"]);
    assertEquals(
      error.message,
      "memory must be a size in bytes from 1 to 9007199254740991, such as 512MiB, " +
        `got ${JSON.stringify(memory)}`,
    );
  }
});

Deno.test("kvPlanRoute() refuses an unknown preset with the nearest name", async () => {
  const response = await testServer().request(`${PATH}?preset=big-lama`);
  const { error } = await response.json();
  assertEquals([response.status, error.param], [400, "preset"]);
  assertEquals(
    error.message,
    'preset must be one of tiny-llama, big-llama, got "big-lama": did you mean big-llama?',
  );
});

Deno.test("kvPlanRoute() answers 503 before the engine is ready", async () => {
  const server = testServer();
  server.engine.state = "starting";
  server.engine.info = undefined;
  assertEquals((await server.request(PATH)).status, 503);
});

Deno.test("kvPlanRoute() stands behind the admin key", async () => {
  const access = { apiKeys: [], adminKeys: ["k"], hostname: "127.0.0.1" };
  const server = testServer({ access });
  assertEquals((await server.request(PATH)).status, 401);
  const headers = { authorization: "Bearer k" };
  assertEquals((await server.request(PATH, { headers })).status, 200);
});
