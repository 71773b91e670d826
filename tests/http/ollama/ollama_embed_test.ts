import { assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { testServer } from "../server.ts";

const MODEL = "quire/test";

function lengthOf(vector: readonly number[]): number {
  return Math.hypot(...vector);
}

Deno.test("/api/embed makes a normalized vector per text, as /v1/embeddings does", async () => {
  const server = testServer();
  const ask = async (path: string, body: object) => await (await server.post(path, body)).json();
  const { data, usage } = await ask("/v1/embeddings", { input: ["a", "bc"], normalize: true });
  const many = await ask("/api/embed", { model: MODEL, input: ["a", "bc"], truncate: true });
  assertEquals(many.embeddings, data.map((one: { embedding: number[] }) => one.embedding));
  assertEquals([many.model, many.prompt_eval_count], [MODEL, usage.prompt_tokens]);
  const cut = await ask("/api/embed", { model: MODEL, input: "a", dimensions: 3 });
  assertEquals([cut.embeddings.length, cut.embeddings[0].length], [1, 3]);
  assertAlmostEquals(lengthOf(cut.embeddings[0]), 1, 1e-6);
  assertEquals((await ask("/api/embed", { model: MODEL, input: [] })).embeddings, []);
  const { embedding } = await ask("/api/embeddings", { model: MODEL, prompt: "a" });
  const [first] = (await ask("/v1/embeddings", { input: "a" })).data;
  assertEquals(embedding, first.embedding);
  assertEquals(await ask("/api/embeddings", { model: MODEL, prompt: "" }), { embedding: [] });
});

Deno.test("/api/embed refuses in Ollama's shape what it cannot do", async () => {
  const server = testServer();
  const cases: [object, number, string][] = [
    [{ input: "a", options: { num_ctx: 1000 } }, 400, "options.num_ctx"],
    [{ input: "x".repeat(5000) }, 400, "maximum context length"],
    [{ input: [true] }, 400, "input"],
    [{}, 400, "input is required"],
    [{ input: "a", dimensions: 1e6 }, 400, "dimensions"],
    [{ input: "a", model: "x" }, 404, "does not exist"],
  ];
  for (const [body, status, words] of cases) {
    const response = await server.post("/api/embed", { model: MODEL, ...body });
    assertEquals(response.status, status, words);
    assertStringIncludes((await response.json()).error, words);
  }
});
