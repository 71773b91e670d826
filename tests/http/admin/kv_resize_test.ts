import { assertEquals, assertStringIncludes } from "@std/assert";
import { EngineUnavailableError, RequestError } from "../../../src/core/errors.ts";
import { testServer } from "../server.ts";

const PATH = "/admin/kv/resize";

Deno.test("POST /admin/kv/resize asks for blocks, and says what was and what is", async () => {
  const server = testServer();
  const answer = await server.post(PATH, { num_blocks: 32 });
  // The fake's pool has 64 blocks of 1,024 bytes.
  assertEquals(await answer.json(), {
    before: { num_blocks: 64, memory_bytes: 65_536 },
    after: { num_blocks: 32, memory_bytes: 32_768 },
    evicted_blocks: 3,
    moved_blocks: 2,
  });
  assertEquals(server.engine.commands, [{ type: "resize_kv", numBlocks: 32 }]);
});

Deno.test("POST /admin/kv/resize takes memory as bytes or as a size, in whole blocks", async () => {
  const server = testServer();
  for (const memory_bytes of [10_239, "1MiB", "2048"]) await server.post(PATH, { memory_bytes });
  assertEquals(
    server.engine.commands.map((command) => command.type === "resize_kv" && command.numBlocks),
    [9, 1024, 2],
  );
});

Deno.test("POST /admin/kv/resize refuses what is no size, and passes the engine's refusal on", async () => {
  const server = testServer();
  const bad: readonly [unknown, string, string][] = [
    [{}, "num_blocks", "either"],
    [{ num_blocks: 4, memory_bytes: 4096 }, "num_blocks", "either"],
    [{ num_blocks: 0 }, "num_blocks", "at least 1"],
    [{ num_blocks: 1.5 }, "num_blocks", "got 1.5"],
    [{ num_blocks: 2 ** 31 }, "num_blocks", "at most 2147483647"],
    [{ memory_bytes: 1023 }, "memory_bytes", "1024 bytes"],
    [{ memory_bytes: "much" }, "memory_bytes", '"much"'],
    [{ memory_bytes: "999999999GiB" }, "memory_bytes", "999999999GiB"],
  ];
  for (const [body, param, part] of bad) {
    const answer = await server.post(PATH, body);
    const { error } = await answer.json();
    assertEquals([answer.status, error.param], [400, param], JSON.stringify(body));
    assertStringIncludes(error.message, part);
  }
  assertEquals(server.engine.commands, []);
  server.engine.refusal = new RequestError("5 of its 8 are in use", { status: 409 });
  const refused = await server.post(PATH, { num_blocks: 4 });
  assertEquals([refused.status, (await refused.json()).error.message], [
    409,
    "5 of its 8 are in use",
  ]);
  server.engine.refusal = new EngineUnavailableError("gone");
  assertEquals((await server.post(PATH, { num_blocks: 4 })).status, 503);
});
