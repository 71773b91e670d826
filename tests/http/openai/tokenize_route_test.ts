import { assertEquals } from "@std/assert";
import { BOS, EOS } from "../fake_text.ts";
import { DEFAULT_LIMITS } from "../../../src/http/services.ts";
import { CHAT, testServer } from "../server.ts";

const server = testServer();

async function tokenize(body: unknown) {
  return await (await server.post("/tokenize", body)).json();
}

Deno.test("tokenizeRoute() takes vLLM's shape, with special tokens unless told otherwise", async () => {
  assertEquals(await tokenize({ prompt: "ab" }), {
    count: 3,
    max_model_len: 256,
    tokens: [BOS, 97, 98],
  });
  const body = { prompt: "ab", add_special_tokens: false, return_token_strs: true };
  assertEquals(await tokenize(body), {
    count: 2,
    max_model_len: 256,
    tokens: [97, 98],
    token_strs: ["a", "b"],
  });
  const { tokens } = await tokenize({ ...CHAT, add_generation_prompt: false });
  const { content } = await (await server.post("/detokenize", { tokens })).json();
  assertEquals(content, "user:Hi\n");
});

Deno.test("tokenizeRoute() takes llama.cpp's shape, without special tokens unless told otherwise", async () => {
  assertEquals((await tokenize({ content: "ab" })).tokens, [97, 98]);
  assertEquals((await tokenize({ content: "ab", add_special: true })).tokens, [BOS, 97, 98]);
  assertEquals((await tokenize({ content: "ab", with_pieces: true })).tokens, [
    { id: 97, piece: "a" },
    { id: 98, piece: "b" },
  ]);
});

Deno.test("tokenizeRoute() works before the engine is ready", async () => {
  const starting = testServer();
  starting.engine.state = "starting";
  starting.engine.info = undefined;
  const response = await starting.post("/tokenize", { content: "a" });
  assertEquals(await response.json(), { count: 1, tokens: [97] });
});

Deno.test("tokenizeRoute() refuses a request without a text and one for another model", async () => {
  assertEquals((await tokenize({})).error.param, "prompt");
  assertEquals((await tokenize({ content: 5 })).error.param, "content");
  assertEquals((await tokenize({ messages: [] })).error.param, "messages");
  assertEquals(
    (await tokenize({ ...CHAT, chat_template: "x" })).error.code,
    "unsupported_parameter",
  );
  assertEquals((await tokenize({ ...CHAT, tools: [{}] })).error.param, "tools.0.type");
  assertEquals((await server.post("/tokenize", { content: "a", model: "x" })).status, 404);
});

Deno.test("detokenizeRoute() answers under both names and refuses ids outside the vocabulary", async () => {
  const response = await server.post("/detokenize", { tokens: [72, 105] });
  assertEquals(await response.json(), { content: "Hi", prompt: "Hi" });
  for (const tokens of [[1, 264], [-1], [1.5], ["a"]]) {
    const { error } = await (await server.post("/detokenize", { tokens })).json();
    assertEquals(error.param, `tokens.${tokens.length - 1}`);
  }
  assertEquals((await server.post("/detokenize", {})).status, 400);
});

Deno.test("tokenizeRoute() reads special tokens in a text unless told not to, and never in messages", async () => {
  const bytes = [...new TextEncoder().encode("<eos>")];
  for (const field of ["prompt", "content"]) {
    const body = { [field]: "<eos>", add_special_tokens: false };
    assertEquals((await tokenize(body)).tokens, [EOS]);
    assertEquals((await tokenize({ ...body, parse_special: true })).tokens, [EOS]);
    assertEquals((await tokenize({ ...body, parse_special: false })).tokens, bytes);
  }
  const messages = [{ role: "user", content: "<eos>" }];
  for (const parse_special of [undefined, false]) {
    const { tokens } = await tokenize({ messages, parse_special });
    assertEquals(tokens.slice("user:".length, "user:<eos>".length), bytes);
  }
  assertEquals((await tokenize({ messages, parse_special: true })).error.param, "parse_special");
});

Deno.test("tokenizeRoute() and detokenizeRoute() answer in full where answers are long", async () => {
  const content = "ab\n".repeat(30_000);
  const large = testServer({ limits: { ...DEFAULT_LIMITS, maxBodyBytes: 1e6 } });
  const body = { content, return_token_strs: true };
  const { count, tokens, token_strs } = await (await large.post("/tokenize", body)).json();
  assertEquals([count, tokens.length, token_strs.join("")], [90_000, 90_000, content]);
  const response = await large.post("/detokenize", { tokens });
  assertEquals(await response.json(), { content, prompt: content });
});

Deno.test("detokenizeRoute() names its limit on tokens, and what is no list of them", async () => {
  const large = testServer({ limits: { ...DEFAULT_LIMITS, maxBodyBytes: 8e6 } });
  const refusal = async (tokens: unknown) =>
    (await (await large.post("/detokenize", { tokens })).json()).error.message;
  assertEquals(
    await refusal(new Array(2 ** 18 + 1).fill(1)),
    "tokens must be an array of at most 262144 elements, got an array of 262145 elements",
  );
  assertEquals(await refusal("ab"), 'tokens must be an array, got "ab"');
  assertEquals(await refusal(undefined), "tokens is required");
});
