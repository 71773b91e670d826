import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { EngineInfo } from "../../../src/core/engine_config.ts";
import { createToolService } from "../../../src/tools/tool_service.ts";
import { OllamaChat, OllamaError, OllamaGenerate, readLines } from "../../support/ollama_format.ts";
import { bytesOf } from "../fake_engine.ts";
import { type TestServer, testServer } from "../server.ts";

const MODEL = "quire/test";
const HI = { model: MODEL, messages: [{ role: "user", content: "Hi" }] };
const WEATHER = {
  type: "function",
  function: {
    name: "weather",
    description: "The weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } } },
  },
};

function reciting(text: string): TestServer {
  const server = testServer();
  server.engine.script = () => bytesOf(text);
  return server;
}

/** The latest request's prompt as text. */
function promptOf({ engine, services: { text } }: TestServer): string {
  return [...engine.sequences[0]!.prompt].map((id) => text.tokenText(id)).join("");
}

async function errorOf(response: Response): Promise<[number, string]> {
  return [response.status, OllamaError.parse(await response.json()).error];
}

Deno.test("/api/chat streams lines of JSON, the last one with reason and counts", async () => {
  const server = reciting("Hello");
  server.engine.numCachedTokens = 3;
  const response = await server.post("/api/chat", HI);
  assertEquals(response.headers.get("content-type"), "application/x-ndjson");
  const objects = readLines(await response.text(), OllamaChat);
  const last = objects.at(-1)!;
  assertEquals(objects.map((one) => one.message.content).join(""), "Hello");
  assertEquals(objects.map(({ model }) => model), objects.map(() => MODEL));
  assert(last.done && last.done_reason === "stop" && "eval_count" in last);
  const promptLength = "user:Hi\nassistant:".length;
  assertEquals(promptOf(server), "user:Hi\nassistant:");
  assertEquals([last.prompt_eval_count, last.eval_count], [promptLength, 6]);
  assertEquals(last.prompt_eval_cached_count, 3);
  assert(last.total_duration >= last.eval_duration + last.prompt_eval_duration - 1);
});

Deno.test("/api/chat answers in one object where stream is false, of the same text", async () => {
  const server = reciting("Hello");
  const whole = OllamaChat.parse(
    await (await server.post("/api/chat", {
      ...HI,
      model: `${MODEL}:latest`,
      stream: false,
      options: { num_predict: 3 },
    })).json(),
  );
  assertEquals(whole.message, { role: "assistant", content: "Hel" });
  assert("done_reason" in whole && whole.done_reason === "length");
  assertEquals(whole.model, MODEL);
});

Deno.test("/api/generate answers with text, with a system message, and raw", async () => {
  const server = reciting("Hello");
  const ask = async (body: object) => {
    const response = await server.post("/api/generate", { model: MODEL, ...body });
    return readLines(await response.text(), OllamaGenerate);
  };
  const objects = await ask({ prompt: "Hi", system: "Be brief" });
  assertEquals(objects.map(({ response }) => response).join(""), "Hello");
  assertEquals(promptOf(server), "system:Be brief\nuser:Hi\nassistant:");
  const raw = await ask({ prompt: "Hi", raw: true, options: { num_predict: 2 } });
  assertEquals(promptOf(server), "<bos>Hi");
  assertEquals(raw.map(({ response }) => response).join(""), "He");
  const whole = await server.post("/api/generate", { model: MODEL, prompt: "Hi", stream: false });
  const answer = OllamaGenerate.parse(await whole.json());
  assertEquals([answer.response, answer.done], ["Hello", true]);
});

Deno.test("requests without a prompt are answered as a model that is loaded", async () => {
  const server = testServer();
  for (
    const body of [{ model: MODEL }, { model: MODEL, keep_alive: 0, prompt: "", messages: [] }]
  ) {
    const chat = OllamaChat.parse(await (await server.post("/api/chat", body)).json());
    const generate = OllamaGenerate.parse(await (await server.post("/api/generate", body)).json());
    assert("done_reason" in chat && chat.done_reason === "load");
    assert("done_reason" in generate && generate.done_reason === "load");
  }
  assertEquals(server.engine.requests, []);
});

Deno.test("options have the meaning of the API's own fields", async () => {
  const server = testServer();
  const options = {
    temperature: 0.25,
    top_k: 7,
    top_p: 0.5,
    min_p: 0.125,
    seed: 11,
    num_predict: 9,
    num_ctx: 256,
    repeat_penalty: 1.5,
    presence_penalty: 0.5,
    frequency_penalty: 0.75,
    stop: ["l"],
    num_gpu: 99,
    mirostat: 0,
    use_mmap: null,
  };
  const response = await server.post("/api/chat", { ...HI, options, stream: false });
  assertEquals((await response.json()).message.content, "He");
  const { params } = server.engine.sequences[0]!;
  const { temperature, topK, topP, minP, seed, maxTokens } = params;
  assertEquals([temperature, topK, topP, minP, seed, maxTokens], [0.25, 7, 0.5, 0.125, 11, 9]);
  const { repetitionPenalty, presencePenalty, frequencyPenalty } = params;
  assertEquals([repetitionPenalty, presencePenalty, frequencyPenalty], [1.5, 0.5, 0.75]);
  // Less than a token: as many as the context leaves.
  for (const num_predict of [-1, -2, 0]) {
    await (await server.post("/api/chat", { ...HI, options: { num_predict } })).body?.cancel();
    const { prompt, params } = server.engine.sequences[0]!;
    assertEquals(params.maxTokens, 256 - prompt.length);
  }
});

Deno.test("what would change an answer is refused by name, in Ollama's shape", async () => {
  const server = testServer();
  const chats: [object, string][] = [
    [{ options: { num_ctx: 512 } }, "options.num_ctx must be at most 256"],
    [{ options: { repeat_penalty: 1.1, repeat_last_n: 64 } }, "options.repeat_last_n"],
    [{ options: { mirostat: 2 } }, "options.mirostat"],
    [{ options: { typical_p: 0.7 } }, "options.typical_p"],
    [{ options: { tempreature: 1 } }, "options.tempreature is not a field"],
    [{ options: { temperature: "hot" } }, "options.temperature"],
    [{ think: true }, "does not support thinking"],
    [{ template: "{{ .Prompt }}" }, "template"],
    [{ format: "yaml" }, "format"],
    [{ messages: [{ role: "user", content: "x", images: ["AAAA"] }] }, "messages.0.images"],
    [{ messages: [{ role: "robot", content: "x" }] }, "messages.0.role"],
  ];
  for (const [body, words] of chats) {
    const [status, error] = await errorOf(await server.post("/api/chat", { ...HI, ...body }));
    assertEquals(status, 400, words);
    assertStringIncludes(error, words);
  }
  const generates: [object, string][] = [
    [{ images: ["AAAA"] }, "images"],
    [{ suffix: "end" }, "suffix"],
    [{ template: "x" }, "template"],
    [{ context: [1, 2] }, "context"],
  ];
  for (const [body, words] of generates) {
    const request = { model: MODEL, prompt: "Hi", ...body };
    const [status, error] = await errorOf(await server.post("/api/generate", request));
    assertEquals(status, 400, words);
    assertStringIncludes(error, words);
  }
  assertEquals(server.engine.requests, []);
  assertEquals((await errorOf(await server.post("/api/chat", { ...HI, model: "x" })))[0], 404);
  const without = testServer({ tools: createToolService("auto", undefined) });
  const [, error] = await errorOf(await without.post("/api/chat", { ...HI, tools: [WEATHER] }));
  assertStringIncludes(error, "does not support tools");
});

Deno.test("all errors of /api have Ollama's shape, those of gates and of unknown paths too", async () => {
  const access = { apiKeys: ["k"], adminKeys: [], hostname: "127.0.0.1" };
  const server = testServer({ access });
  assertEquals((await errorOf(await server.post("/api/chat", HI)))[0], 401);
  const key = { authorization: "Bearer k" };
  assertEquals((await errorOf(await server.post("/api/create", {}, key)))[0], 404);
  assertEquals((await errorOf(await server.request("/api/chat", { headers: key })))[0], 405);
  assertEquals((await errorOf(await server.post("/api/chat", {}, key)))[0], 400);
  // curl's own media type, as in Ollama's documentation; a page cannot send it unseen.
  const form = { ...key, "content-type": "application/x-www-form-urlencoded" };
  assertEquals((await server.post("/api/chat", HI, form)).status, 200);
  const foreign = { ...form, origin: "https://evil.example" };
  assertEquals((await errorOf(await server.post("/api/chat", HI, foreign)))[0], 403);
});

Deno.test("calls of tools come as values, in streams as soon as they are complete", async () => {
  const call = '<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>';
  const server = reciting(`Sure.${call}`);
  const body = { ...HI, tools: [WEATHER] };
  const whole = OllamaChat.parse(
    await (await server.post("/api/chat", { ...body, stream: false })).json(),
  );
  const streamed = readLines(await (await server.post("/api/chat", body)).text(), OllamaChat);
  for (const objects of [[whole], streamed]) {
    assertEquals(objects.map(({ message }) => message.content).join(""), "Sure.");
    const calls = objects.flatMap(({ message }) => message.tool_calls ?? []);
    assertEquals(calls.map((one) => one.function), [
      { index: 0, name: "weather", arguments: { city: "Rome" } },
    ]);
  }
  // The conversation goes on with the call and its result.
  const more = [
    { role: "assistant", content: "", tool_calls: [{ function: WEATHER.function }] },
    { role: "tool", content: "Sunny", tool_name: "weather" },
  ];
  const next = await server.post("/api/chat", { ...body, messages: [...HI.messages, ...more] });
  assertEquals(next.status, 200);
  assertStringIncludes(promptOf(server), "tool:Sunny");
});

Deno.test("format json and a schema hold the answer to a grammar", async () => {
  const server = testServer();
  const schema = { type: "object", properties: { a: { type: "null" } } };
  for (const format of ["json", schema]) {
    const response = await server.post("/api/chat", { ...HI, format, stream: false });
    assertEquals(response.status, 200);
    assert(server.engine.sequences[0]!.grammar !== undefined);
  }
  for (const format of ["", null]) {
    await (await server.post("/api/chat", { ...HI, format })).body?.cancel();
    assertEquals(server.engine.sequences[0]!.grammar, undefined);
  }
});

Deno.test("thoughts come apart from the answer, and think sets the template's variables", async () => {
  const thinking = { begin: "<think>", end: "</think>" };
  const model = {
    ...testServer().services.model,
    thinking,
    templateVariables: ["enable_thinking"],
  };
  const server = testServer({ model });
  server.engine.script = () => bytesOf("<think>Hm</think>Yes");
  for (const path of ["/api/chat", "/api/generate"]) {
    const request = { ...HI, prompt: "Hi", think: true, stream: false };
    const answer = await (await server.post(path, request)).json();
    const { thinking, content } = answer.message ?? { ...answer, content: answer.response };
    assertEquals([thinking, content], ["Hm", "Yes"]);
  }
  assertEquals((await server.post("/api/chat", { ...HI, think: false })).status, 200);
});

Deno.test("logprobs come beside the text of their tokens", async () => {
  const server = reciting("Hi");
  const response = await server.post("/api/chat", { ...HI, logprobs: true, top_logprobs: 2 });
  const objects = readLines(await response.text(), OllamaChat);
  const tokens = objects.flatMap((one) => "logprobs" in one ? one.logprobs ?? [] : []);
  assertEquals(tokens.map(({ token }) => token), ["H", "i"]);
  assertEquals(tokens[0]!.top_logprobs.length, 2);
  const whole = await server.post("/api/generate", {
    ...{ model: MODEL, prompt: "a", logprobs: true, stream: false },
  });
  const { logprobs } = await whole.json();
  assertEquals(logprobs.map(({ token }: { token: string }) => token), ["H", "i"]);
});

Deno.test("an engine that fails in a stream ends it with a line that says so", async () => {
  const server = reciting("Hello");
  server.engine.override = (event, at) =>
    at < 2 ? event : { ...event, finishReason: "error", error: undefined as never };
  const lines = (await (await server.post("/api/chat", HI)).text()).trimEnd().split("\n");
  OllamaError.parse(JSON.parse(lines.at(-1)!));
});

Deno.test("models are described as far as they are known", async () => {
  const server = testServer();
  const { models } = await (await server.request("/api/tags")).json();
  assertEquals(models.map(({ name }: { name: string }) => name), ["quire/test", "alias"]);
  assertEquals(models[0].details.family, "llama");
  assert(/^[0-9a-f]{64}$/.test(models[0].digest) && models[0].digest !== models[1].digest);
  const show = await (await server.post("/api/show", { model: MODEL })).json();
  assertEquals(show.capabilities, ["completion", "embedding", "tools"]);
  const headless = testServer({ model: { ...server.services.model, lacksLmHead: true } });
  const { capabilities } = await (await headless.post("/api/show", { model: MODEL })).json();
  assertEquals(capabilities, ["embedding", "tools"]);
  assertEquals(show.model_info["llama.context_length"], 256);
  assertEquals((await server.post("/api/show", { name: "x" })).status, 404);
  assertEquals((await server.post("/api/show", {})).status, 400);
  const ps = await (await server.request("/api/ps")).json();
  assertEquals([ps.models.length, ps.models[0].context_length], [1, 256]);
  const version = await (await server.request("/api/version")).json();
  assert(/^\d+\.\d+\.\d+$/.test(version.version));
  server.engine.info = undefined as EngineInfo | undefined;
  assertEquals((await (await server.request("/api/ps")).json()).models, []);
});
