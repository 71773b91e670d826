import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import type { SequenceRequest } from "../../../src/core/generation.ts";
import type { Services } from "../../../src/http/services.ts";
import { RenderAnswer, RerankAnswer } from "../../support/answer_schemas.ts";
import { FAKE_HIDDEN_SIZE, fakeReading, INFO } from "../fake_engine.ts";
import { FakeText } from "../fake_text.ts";
import { CHAT, type TestServer, testServer } from "../server.ts";

/** With room for the instructions, byte by byte. */
function rankingServer(changes: Partial<Services> = {}): TestServer {
  const server = testServer(changes);
  server.engine.info = { ...INFO, maxModelLen: 1024 };
  return server;
}

async function rank(server: TestServer, body: unknown, path = "/v1/rerank") {
  return RerankAnswer.parse(await (await server.post(path, body)).json());
}

/** The fake's log-probabilities of yes and no behind a prompt of so many tokens. */
function expectedScore(numTokens: number): number {
  const [yes, no] = [121, 110].map((token) => -((token + numTokens) % 7) - 0.5);
  return Math.exp(yes!) / (Math.exp(yes!) + Math.exp(no!));
}

Deno.test("rerankRoute() scores by how likely yes is rather than no, best first", async () => {
  const server = rankingServer();
  const documents = ["a", "bcd", { text: "ef" }];
  const body = { query: "q", documents, return_documents: true };
  const { results, usage } = await rank(server, body);
  const lengths = server.engine.sequences.map(({ prompt }) => prompt.length);
  for (const { index, relevance_score, document } of results) {
    assertAlmostEquals(relevance_score, expectedScore(lengths[index]!), 1e-9);
    assertEquals(document!.text, ["a", "bcd", "ef"][index]);
  }
  assertEquals(usage.prompt_tokens, lengths.reduce((sum, length) => sum + length, 0));
  assertEquals(
    server.engine.sequences.map(({ readout }) => readout),
    documents.map(() => ({
      nextTokens: [121, 110],
    })),
  );
  const first = await rank(server, { ...body, top_n: 1, return_documents: false }, "/rerank");
  const { document: _, ...best } = results[0]!;
  assertEquals(first.results, [best]);
});

Deno.test("rerankRoute() scores by a classifier's head where the model has one", async () => {
  const score = Float32Array.from({ length: FAKE_HIDDEN_SIZE }, (_, e) => e % 3 - 1);
  const { model } = testServer().services;
  const server = rankingServer({ model: { ...model, rerank: { score }, lacksLmHead: true } });
  const { results } = await rank(server, { query: "q", documents: ["a"] });
  const [{ prompt, readout }] = server.engine.sequences as never as [SequenceRequest];
  assertEquals(readout, { pooling: "last" });
  const { vector } = fakeReading(prompt, { pooling: "last" });
  const product = vector!.reduce((sum, value, e) => sum + value * score[e]!, 0);
  assertAlmostEquals(results[0]!.relevance_score, 1 / (1 + Math.exp(-product)), 1e-9);
  // It generates nothing, and says so.
  for (const path of ["/v1/chat/completions", "/v1/completions"]) {
    const { error } = await (await server.post(path, { ...CHAT, prompt: "x" })).json();
    assertEquals([error.code, error.param], ["unsupported_model", "model"]);
  }
});

Deno.test("rerankRoute() asks in the words that the models were trained on, the query first", async () => {
  const server = rankingServer();
  await rank(server, { query: "who?", documents: ["<eos>me"], instruction: "find" });
  const text = new TextDecoder().decode(Uint8Array.from(server.engine.sequences[0]!.prompt));
  assertStringIncludes(text, "user:<Instruct>: find\n<Query>: who?\n<Document>: <eos>me\n");
  // A control token in a document is text.
  assert(server.engine.sequences[0]!.prompt.every((id) => id < 256));
});

Deno.test("rerankRoute() tokenizes no further document once its client has left", async () => {
  const controller = new AbortController();
  let numEncoded = 0;
  const text = new FakeText();
  const encodeChat = text.encodeChat.bind(text);
  text.encodeChat = (...given) => {
    numEncoded++;
    if (numEncoded === 2) controller.abort();
    return encodeChat(...given);
  };
  const server = rankingServer({ text });
  const response = await server.request("/v1/rerank", {
    method: "POST",
    body: JSON.stringify({ query: "q", documents: ["a", "b", "c", "d"] }),
    headers: { "content-type": "application/json" },
    signal: controller.signal,
  });
  assertEquals([await response.text(), numEncoded], ["", 2]);
  assertEquals(server.engine.requests.length, 0);
});

Deno.test("rerankRoute() names what is wrong, and what would make a model rank", async () => {
  const server = rankingServer();
  const wrong: [Record<string, unknown>, string, string][] = [
    [{ documents: ["a"] }, "missing_required_parameter", "query"],
    [{ query: "q", documents: [] }, "invalid_value", "documents"],
    [{ query: "q", documents: ["x".repeat(9000)] }, "context_length_exceeded", "documents"],
    [{ query: "q", documents: ["a"], top_n: -1 }, "invalid_value", "top_n"],
    [
      { query: "q", documents: ["a"], max_chunks_per_doc: 3 },
      "unsupported_parameter",
      "max_chunks_per_doc",
    ],
    [{ query: "q", documents: Array(129).fill("a") }, "too_many_sequences", "documents"],
  ];
  for (const [body, code, param] of wrong) {
    const { error } = await (await server.post("/v1/rerank", body)).json();
    assertEquals([error?.code, error?.param], [code, param], JSON.stringify(body).slice(0, 80));
  }
  const { rerank: _, ...model } = server.services.model;
  const response = await testServer({ model }).post("/rerank", { query: "q", documents: ["a"] });
  const { error } = await response.json();
  assertEquals([response.status, error.code], [400, "unsupported_model"]);
  assertStringIncludes(error.message, "--rerank-tokens no,yes");
});

Deno.test("renderRoute() and applyTemplateRoute() show a chat's prompt and generate nothing", async () => {
  const server = testServer();
  const response = await server.post("/v1/chat/completions/render", CHAT);
  const { prompt, prompt_token_ids, max_model_len } = RenderAnswer.parse(await response.json());
  assertEquals([prompt, max_model_len], ["user:Hi\nassistant:", 256]);
  assertEquals(prompt_token_ids, [...new TextEncoder().encode(prompt)]);
  const applied = await (await server.post("/apply-template", CHAT)).json();
  assertEquals(applied, { prompt });
  const messages = [...CHAT.messages, { role: "assistant", content: "Well" }];
  const continued = { messages, continue_final_message: true };
  const open = await (await server.post("/apply-template", continued)).json();
  assertEquals(open, { prompt: "user:Hi\nassistant:Well" });
  const wrong = { ...continued, add_generation_prompt: true };
  const { error } = await (await server.post("/apply-template", wrong)).json();
  assertEquals(error.param, "continue_final_message");
  assertEquals(server.engine.requests.length, 0);
});
