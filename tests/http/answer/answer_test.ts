import { assertEquals, assertNotEquals, assertStringIncludes } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import { CHAT, readEvents, testServer } from "../server.ts";

const PATH = "/v1/chat/completions";

Deno.test("answer() gives every request an id of its own, shared by engine, answer and chunks", async () => {
  const server = testServer();
  const first = await (await server.post(PATH, CHAT)).json();
  assertEquals(server.engine.requests[0]!.id, first.id);
  const chunks = (await readEvents(await server.post(PATH, { ...CHAT, stream: true }))).slice(
    0,
    -1,
  );
  assertEquals(new Set(chunks.map(({ id }) => id)), new Set([server.engine.requests[1]!.id]));
  assertNotEquals(chunks[0].id, first.id);
});

Deno.test("answer() refuses before the first byte of a stream what the engine refuses", async () => {
  const server = testServer();
  server.engine.refusal = new RequestError("needs 99 KV blocks, the pool has 64", {
    param: "prompt",
  });
  const response = await server.post(PATH, { ...CHAT, stream: true });
  assertEquals(response.status, 400);
  assertStringIncludes(response.headers.get("content-type") ?? "", "application/json");
  assertStringIncludes((await response.json()).error.message, "99 KV blocks");
});

Deno.test("answer() logs the end of a generation with its counts", async () => {
  const server = testServer();
  server.engine.numCachedTokens = 4;
  for (const stream of [false, true]) {
    await (await server.post(PATH, { ...CHAT, n: 2, stream }, { "x-request-id": "r1" })).text();
    const line = server.log.findLast(({ message }) => message === "generation")!;
    assertEquals(
      [line.request_id, line.status, line.prompt_tokens, line.completion_tokens, line.finish],
      ["r1", 200, 18, 12, "stop,stop"],
    );
    assertEquals([line.sequences, line.cached_tokens], [2, 4]);
  }
});

Deno.test("answer() feeds the metrics", async () => {
  const server = testServer();
  await (await server.post(PATH, { ...CHAT, n: 2 })).text();
  const text = await (await server.request("/metrics")).text();
  const labels = 'model_name="quire/test",engine="0"';
  assertStringIncludes(text, `vllm:prompt_tokens_total{${labels}} 36\n`);
  assertStringIncludes(text, `vllm:generation_tokens_total{${labels}} 12\n`);
  assertStringIncludes(text, `vllm:request_success_total{finished_reason="stop",${labels}} 2\n`);
  assertStringIncludes(text, `vllm:time_to_first_token_seconds_count{${labels}} 2\n`);
  assertStringIncludes(text, `vllm:inter_token_latency_seconds_count{${labels}} 10\n`);
});
