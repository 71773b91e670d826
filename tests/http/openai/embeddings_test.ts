import { assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import OpenAI from "openai";
import { DEFAULT_LIMITS } from "../../../src/http/services.ts";
import { EmbeddingsAnswer } from "../../support/answer_schemas.ts";
import { FAKE_HIDDEN_SIZE, fakeReading } from "../fake_engine.ts";
import { BOS } from "../fake_text.ts";
import { listen, type TestServer, testServer } from "../server.ts";

const PATH = "/v1/embeddings";

async function embed(server: TestServer, body: unknown) {
  return EmbeddingsAnswer.parse(await (await server.post(PATH, body)).json());
}

/** What the fake reads, and its first elements with a length of 1. */
function unit(prompt: number[], dimensions = FAKE_HIDDEN_SIZE): number[] {
  const { vector } = fakeReading(Uint32Array.from(prompt), { pooling: "last" });
  const cut = [...vector!].slice(0, dimensions);
  const length = Math.hypot(...cut);
  return cut.map((value) => value / length);
}

function assertClose(actual: unknown, expected: readonly number[]): void {
  const values = actual as number[];
  assertEquals(values.length, expected.length);
  values.forEach((value, i) => assertAlmostEquals(value, expected[i]!, 1e-6));
}

Deno.test("embeddingsRoute() makes a vector of each text and list of ids, in order", async () => {
  const server = testServer();
  const forms: [unknown, number[][]][] = [
    ["ab", [[BOS, 97, 98]]],
    [["a", "b"], [[BOS, 97], [BOS, 98]]],
    [[5, 6], [[5, 6]]],
    [["a", [6, 7]], [[BOS, 97], [6, 7]]],
  ];
  for (const [input, prompts] of forms) {
    const { data, usage } = await embed(server, { input, model: "alias" });
    data.forEach(({ embedding }, i) => assertClose(embedding, unit(prompts[i]!)));
    assertEquals(usage.prompt_tokens, prompts.flat().length);
    assertEquals(server.engine.sequences.map(({ prompt }) => [...prompt]), prompts);
  }
  const { params, readout } = server.engine.sequences[0]!;
  assertEquals([params.maxTokens, readout], [0, { pooling: "last" }]);
});

Deno.test("embeddingsRoute() cuts, normalizes and encodes as it is asked to", async () => {
  const server = testServer();
  const whole = unit([5]);
  const cut = await embed(server, { input: [5], dimensions: 3 });
  assertClose(cut.data[0]!.embedding, unit([5], 3));
  const raw = await embed(server, { input: [5], normalize: false, dimensions: 2 });
  assertEquals(raw.data[0]!.embedding, [5 / 16, 6 / 16]);
  const { data } = await embed(server, { input: [5], encoding_format: "base64" });
  const bytes = Uint8Array.fromBase64(data[0]!.embedding as string);
  assertClose([...new Float32Array(bytes.buffer)], whole);
});

Deno.test("embeddingsRoute() says that an operator has aborted it, and answers no empty body", async () => {
  const server = testServer();
  server.engine.isManual = true;
  const answer = server.post(PATH, { input: ["a", "b"] });
  while (server.engine.runs.length === 0) await new Promise((resolve) => setTimeout(resolve));
  server.engine.run.abort();
  const response = await answer;
  assertEquals([response.status, (await response.json()).error.code], [500, "aborted"]);
});

Deno.test("the official client reads vectors, which it asks for in base64", async () => {
  const server = testServer();
  await using listening = await listen(server);
  const client = new OpenAI({ baseURL: `${listening.url}/v1`, apiKey: "none", maxRetries: 0 });
  const { data, usage } = await client.embeddings.create({ model: "alias", input: ["a", "bc"] });
  assertClose(data[0]!.embedding, unit([BOS, 97]));
  assertClose(data[1]!.embedding, unit([BOS, 98, 99]));
  assertEquals(usage, { prompt_tokens: 5, total_tokens: 5 });
});

Deno.test("embeddingsRoute() names what is wrong with a request, and what a model cannot do", async () => {
  const limits = { ...DEFAULT_LIMITS, maxNumQueuedSeqs: 3 };
  const server = testServer({ limits });
  const wrong: [Record<string, unknown>, string, string][] = [
    [{}, "missing_required_parameter", "input"],
    [{ input: [] }, "invalid_value", "input"],
    [{ input: "", add_special_tokens: false }, "invalid_value", "input"],
    [{ input: [1, 999] }, "invalid_value", "input.1"],
    [{ input: [{}] }, "invalid_type", "input.0"],
    [{ input: "x".repeat(2000) }, "context_length_exceeded", "input"],
    [{ input: new Array(257).fill(1) }, "context_length_exceeded", "input"],
    [{ input: ["a", "b", "c", "d"] }, "too_many_sequences", "input"],
    [{ input: "a", dimensions: 9 }, "invalid_value", "dimensions"],
    [{ input: "a", dimensions: 0 }, "invalid_value", "dimensions"],
    [{ input: "a", encoding_format: "int8" }, "invalid_value", "encoding_format"],
    [{ input: "a", truncate_prompt_tokens: 5 }, "unsupported_parameter", "truncate_prompt_tokens"],
    [{ input: "a", model: "other" }, "model_not_found", "model"],
  ];
  for (const [body, code, param] of wrong) {
    const { error } = await (await server.post(PATH, body)).json();
    assertEquals([error?.code, error?.param], [code, param], JSON.stringify(body).slice(0, 80));
  }
  assertEquals(server.engine.requests.length, 0);
  // The context may be filled: there is no answer.
  await embed(server, { input: new Array(256).fill(1) });
  const { embedding: _, ...model } = server.services.model;
  for (const embedding of [undefined, { unsupported: "it pools by max" }]) {
    const other = testServer({ model: { ...model, ...(embedding && { embedding }) } });
    const { error } = await (await other.post(PATH, { input: "a" })).json();
    assertEquals([error.code, error.param], ["unsupported_model", "model"]);
    assertStringIncludes(error.message, embedding?.unsupported ?? "not known");
    assertStringIncludes(error.message, "--pooling");
  }
});

Deno.test("a client that leaves ends its prompts, and keys and salts part the cache", async () => {
  const server = testServer();
  server.engine.isManual = true;
  const controller = new AbortController();
  const asked = server.request(PATH, {
    method: "POST",
    body: JSON.stringify({ input: ["a", "b"] }),
    headers: { "content-type": "application/json" },
    signal: controller.signal,
  });
  while (server.engine.runs.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  controller.abort();
  await server.engine.run.ended;
  await (await asked).body?.cancel();
  server.engine.isManual = false;
  await embed(server, { input: "a", cache_salt: "s" });
  const salted = server.engine.requests.at(-1)!.cacheScope;
  await embed(server, { input: "a" });
  assertEquals([typeof salted, server.engine.requests.at(-1)!.cacheScope], ["string", undefined]);
});

Deno.test("a prompt that fails in the engine is an error of the whole request", async () => {
  const server = testServer();
  server.engine.override = ({ prompt: _, ...event }) => ({
    ...event,
    finishReason: "error",
    error: {
      status: 500,
      type: "server_error",
      code: "nonfinite_logits",
      message: "not finite",
      param: null,
    },
  });
  const response = await server.post(PATH, { input: "a" });
  assertEquals([response.status, (await response.json()).error.code], [500, "nonfinite_logits"]);
});
