import { assertEquals, assertStringIncludes } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import { DEFAULT_LIMITS } from "../../../src/http/services.ts";
import { bytesOf } from "../fake_engine.ts";
import { EOS, FakeText } from "../fake_text.ts";
import { CHAT, testServer } from "../server.ts";

const PATH = "/v1/chat/completions";

Deno.test("chatRoute() answers with a message, a finish and exact usage", async () => {
  const server = testServer();
  server.engine.numCachedTokens = 16;
  const response = await server.post(PATH, CHAT);
  const { id, created, ...rest } = await response.json();
  assertEquals([response.status, /^chatcmpl-[0-9a-f]{32}$/.test(id)], [200, true]);
  assertEquals(Number.isInteger(created), true);
  assertEquals(rest, {
    object: "chat.completion",
    model: "quire/test",
    system_fingerprint: "quire-1.2.3",
    choices: [{
      index: 0,
      message: { role: "assistant", content: "Hello", refusal: null },
      logprobs: null,
      finish_reason: "stop",
      stop_reason: null,
    }],
    usage: {
      prompt_tokens: bytesOf("user:Hi\nassistant:").length,
      completion_tokens: 6,
      total_tokens: 24,
      prompt_tokens_details: { cached_tokens: 16 },
    },
  });
});

Deno.test("chatRoute() hands the engine the templated prompt and the request's parameters", async () => {
  const server = testServer();
  await server.post(PATH, {
    messages: [{ role: "developer", content: "S" }, { role: "user", content: "U" }],
    temperature: 0.5,
    top_p: 0.25,
    top_k: 3,
    min_p: 0.125,
    seed: 9,
    n: 2,
    max_tokens: 7,
    max_completion_tokens: 8,
    stop_token_ids: [5],
    logprobs: true,
    top_logprobs: 4,
    user: "accepted and ignored",
  });
  const [first, second] = server.engine.sequences;
  assertEquals(
    new TextDecoder().decode(Uint8Array.from(first!.prompt)),
    "system:S\nuser:U\nassistant:",
  );
  const params = {
    maxTokens: 8,
    temperature: 0.5,
    topK: 3,
    topP: 0.25,
    minP: 0.125,
    seed: 9,
    stopTokenIds: [EOS, 5],
    numLogprobs: 4,
  };
  assertEquals([first!.params, second!.params], [params, { ...params, seed: 10 }]);
});

Deno.test("chatRoute() gives the rest of the context where max_tokens is absent", async () => {
  const server = testServer();
  await server.post(PATH, CHAT);
  assertEquals(server.engine.sequences[0]!.params.maxTokens, 256 - 18);
});

Deno.test("chatRoute() takes the sampling defaults of the model", async () => {
  const { model } = testServer().services;
  const server = testServer({ model: { ...model, defaults: { temperature: 0.6, topP: 0.9 } } });
  await server.post(PATH, CHAT);
  const { temperature, topP } = server.engine.sequences[0]!.params;
  assertEquals([temperature, topP], [0.6, 0.9]);
});

Deno.test("chatRoute() continues the assistant's message when asked to", async () => {
  const server = testServer();
  const messages = [...CHAT.messages, { role: "assistant", content: "Well," }];
  await server.post(PATH, { messages, continue_final_message: true });
  const { prompt } = server.engine.sequences[0]!;
  assertEquals(new FakeText().textOf(prompt), "user:Hi\nassistant:Well,");
});

Deno.test("chatRoute() keeps the space before what continues a message, and only there", async () => {
  const asked: (boolean | undefined)[] = [];
  const text = new FakeText();
  const createDetokenizer: typeof text.createDetokenizer = text.createDetokenizer.bind(text);
  Object.assign(text, {
    createDetokenizer: (options: { continuesText?: boolean; skipSpecialTokens?: boolean }) => {
      asked.push(options.continuesText);
      return createDetokenizer(options);
    },
  });
  const server = testServer({ text });
  await server.post(PATH, CHAT);
  const messages = [...CHAT.messages, { role: "assistant", content: "Well," }];
  await server.post(PATH, { messages, continue_final_message: true });
  assertEquals(asked, [false, true]);
});

Deno.test("chatRoute() counts the tokens up to the one that completes a stop string", async () => {
  const server = testServer();
  server.engine.script = () => bytesOf("one two three");
  const { choices, usage } = await (await server.post(PATH, { ...CHAT, stop: [" two"] })).json();
  assertEquals(choices[0].message.content, "one");
  assertEquals([choices[0].finish_reason, choices[0].stop_reason], ["stop", " two"]);
  assertEquals(usage.completion_tokens, bytesOf("one two").length);
  assertEquals([...server.engine.run.aborted], [0]);
});

Deno.test("chatRoute() finishes with length, or with the stop token's id where it was named", async () => {
  const server = testServer();
  const short = await (await server.post(PATH, { ...CHAT, max_tokens: 3 })).json();
  assertEquals([short.choices[0].message.content, short.choices[0].finish_reason], [
    "Hel",
    "length",
  ]);
  const body = { ...CHAT, stop_token_ids: [108] };
  const stopped = await (await server.post(PATH, body)).json();
  const [choice] = stopped.choices;
  assertEquals([choice.message.content, choice.finish_reason, choice.stop_reason], [
    "He",
    "stop",
    108,
  ]);
  assertEquals(stopped.usage.completion_tokens, 3);
});

Deno.test("chatRoute() calls the model's own end of sequence none of the request's stop tokens", async () => {
  const server = testServer();
  const named = { ...CHAT, stop_token_ids: [EOS] };
  const own = await (await server.post(PATH, named)).json();
  assertEquals(own.choices[0].stop_reason, null);
  const ignored = await (await server.post(PATH, { ...named, ignore_eos: true })).json();
  assertEquals(ignored.choices[0].stop_reason, EOS);
});

Deno.test("chatRoute() keeps the stop string in the text when told to", async () => {
  const server = testServer();
  const body = { ...CHAT, stop: "ll", include_stop_str_in_output: true };
  assertEquals((await (await server.post(PATH, body)).json()).choices[0].message.content, "Hell");
});

Deno.test("chatRoute() lets a sequence run over the end of sequence when told to", async () => {
  const server = testServer();
  const body = { ...CHAT, ignore_eos: true, max_tokens: 8 };
  const hidden = await (await server.post(PATH, body)).json();
  assertEquals([hidden.choices[0].message.content, hidden.usage.completion_tokens], ["Hello", 8]);
  const shown = await (await server.post(PATH, { ...body, skip_special_tokens: false })).json();
  assertEquals(shown.choices[0].message.content, "Hello<eos><eos><eos>");
});

Deno.test("chatRoute() numbers the samples and keeps them apart", async () => {
  const server = testServer();
  server.engine.script = (index) => bytesOf(`sample ${index}`.slice(0, 6 + 2 * index));
  const { choices, usage } = await (await server.post(PATH, { ...CHAT, n: 3 })).json();
  assertEquals(
    choices.map(({ index, message }: { index: number; message: { content: string } }) => [
      index,
      message.content,
    ]),
    [[0, "sample"], [1, "sample 1"], [2, "sample 2"]],
  );
  assertEquals(usage.completion_tokens, 7 + 9 + 9);
});

Deno.test("chatRoute() reports log-probabilities and token ids when asked for", async () => {
  const server = testServer();
  const body = { ...CHAT, logprobs: true, top_logprobs: 2, return_token_ids: true };
  const { choices: [choice], prompt_token_ids } = await (await server.post(PATH, body)).json();
  const { content } = choice.logprobs;
  assertEquals(content.map(({ token }: { token: string }) => token), ["H", "e", "l", "l", "o"]);
  assertEquals(content[1], {
    token: "e",
    logprob: -1.5,
    bytes: [101],
    top_logprobs: [
      { token: "e", logprob: -1.5, bytes: [101] },
      { token: "f", logprob: -2.5, bytes: [102] },
    ],
  });
  assertEquals(choice.token_ids, [...bytesOf("Hello"), EOS]);
  assertEquals(prompt_token_ids, bytesOf("user:Hi\nassistant:"));
});

Deno.test("chatRoute() echoes the served name asked for and refuses another", async () => {
  const server = testServer();
  assertEquals(
    (await (await server.post(PATH, { ...CHAT, model: "alias" })).json()).model,
    "alias",
  );
  const response = await server.post(PATH, { ...CHAT, model: "gpt-4" });
  assertEquals([response.status, (await response.json()).error.code], [404, "model_not_found"]);
});

Deno.test("chatRoute() refuses a conversation beyond the context with the numbers", async () => {
  const server = testServer();
  const messages = [{ role: "user", content: "x".repeat(300) }];
  const { error } = await (await server.post(PATH, { messages })).json();
  assertEquals([error.code, error.param], ["context_length_exceeded", "messages"]);
  assertEquals([error.n_prompt_tokens, error.n_ctx], [316, 256]);
  assertStringIncludes(error.message, "This model's maximum context length is 256 tokens.");
  assertEquals(server.engine.requests.length, 0);
});

Deno.test("chatRoute() does not tokenize what cannot fit by its length alone", async () => {
  const text = new FakeText();
  text.encodeChat = () => Promise.reject(new Error("tokenized"));
  const server = testServer({ text });
  const messages = [{ role: "user", content: "x".repeat(256 * 6) }];
  const response = await server.post(PATH, { messages });
  assertEquals([response.status, (await response.json()).error.n_prompt_tokens], [400, 256]);
});

Deno.test("chatRoute() refuses more samples than a request may queue, without tokenizing", async () => {
  const text = new FakeText();
  text.encodeChat = () => Promise.reject(new Error("tokenized"));
  const limits = { ...DEFAULT_LIMITS, maxNumQueuedSeqs: 8 };
  const response = await testServer({ text, limits }).post(PATH, { ...CHAT, n: 9 });
  const { error } = await response.json();
  assertEquals([response.status, error.code, error.param], [400, "too_many_sequences", "n"]);
  assertStringIncludes(error.message, "n must be at most 8, got 9");
});

Deno.test("chatRoute() passes a template's refusal on", async () => {
  const text = new FakeText();
  text.encodeChat = () =>
    Promise.reject(new RequestError("Roles must alternate", { param: "messages" }));
  const response = await testServer({ text }).post(PATH, CHAT);
  assertEquals([response.status, (await response.json()).error.message], [
    400,
    "Roles must alternate",
  ]);
});

Deno.test("chatRoute() answers 503 without tokenizing while the engine is not ready", async () => {
  const server = testServer();
  server.engine.state = "starting";
  server.engine.info = undefined;
  const response = await server.post(PATH, CHAT);
  assertEquals([response.status, response.headers.get("retry-after")], [503, "5"]);
  assertStringIncludes((await response.json()).error.message, "starting");
});
