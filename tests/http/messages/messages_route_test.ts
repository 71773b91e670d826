import { assert, assertEquals, assertMatch } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import type { ChatMessage, EncodeChatOptions } from "../../../src/http/text_port.ts";
import { checkMessageStream, MessageError, MessageObject } from "../../support/messages_format.ts";
import { bytesOf } from "../fake_engine.ts";
import type { FakeGrammars } from "../fake_grammars.ts";
import { FakeText } from "../fake_text.ts";
import { type TestServer, testServer } from "../server.ts";

const PATH = "/v1/messages";
const CHAT = {
  model: "alias",
  max_tokens: 200,
  messages: [{ role: "user", content: "Hi" }],
};
const CALL = '<tool_call>{"name": "now", "arguments": {"zone": "UTC"}}</tool_call>';
const TOOL = {
  name: "now",
  description: "The time",
  input_schema: { type: "object", properties: { zone: { type: "string" } } },
  cache_control: { type: "ephemeral" },
};
const THINKING = { thinking: { type: "enabled", budget_tokens: 50 } };

/** Keeps what goes to the chat template. */
class KeptText extends FakeText {
  readonly conversations: (readonly ChatMessage[])[] = [];
  readonly options: (EncodeChatOptions | undefined)[] = [];
  override encodeChat(messages: readonly ChatMessage[], options?: EncodeChatOptions) {
    this.conversations.push(messages);
    this.options.push(options);
    return super.encodeChat(messages, options);
  }
}

function serverThatSays(text: string, thinks = false): TestServer & { readonly kept: KeptText } {
  const kept = new KeptText();
  const { model } = testServer().services;
  const thinking = { begin: "<think>", end: "</think>" };
  const server = testServer({
    text: kept,
    model: thinks ? { ...model, thinking, templateVariables: ["enable_thinking"] } : model,
  });
  server.engine.script = () => bytesOf(text);
  return { ...server, kept };
}

async function ask(server: TestServer, fields: object = {}): Promise<MessageObject> {
  const response = await server.post(PATH, { ...CHAT, ...fields });
  const body = await response.json();
  assertEquals(response.status, 200, JSON.stringify(body));
  return MessageObject.parse(body);
}

function eventsOf(text: string) {
  return text.split("\n\n").slice(0, -1).map((event) => {
    const [, name, data] = /^event: (\S+)\ndata: (.*)$/.exec(event)!;
    const payload = JSON.parse(data!);
    assertEquals(payload.type, name);
    return payload;
  });
}

async function stream(server: TestServer, fields: object): Promise<MessageObject> {
  const response = await server.post(PATH, { ...CHAT, stream: true, ...fields });
  assertEquals(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  return checkMessageStream(eventsOf(await response.text()));
}

async function refusal(server: TestServer, fields: object, headers: HeadersInit = {}) {
  const response = await server.post(PATH, { ...CHAT, ...fields }, headers);
  const { error, request_id } = MessageError.parse(await response.json());
  assertEquals(response.headers.get("x-request-id"), request_id);
  return { status: response.status, ...error };
}

Deno.test("a message has its text, and usage that tells cached tokens apart", async () => {
  const server = serverThatSays("Hello");
  server.engine.numCachedTokens = 3;
  const system = [{ type: "text", text: "A", cache_control: { type: "ephemeral", ttl: "1h" } }, {
    type: "text",
    text: "B",
  }];
  const message = await ask(server, { system, metadata: { user_id: "me" }, temperature: 0.5 });
  assertEquals(message.content, [{ type: "text", text: "Hello", citations: null }]);
  assertEquals([message.stop_reason, message.model], ["end_turn", "alias"]);
  const input_tokens = "system:A\nB\nuser:Hi\nassistant:".length;
  assertEquals(message.usage, {
    ...{ input_tokens: input_tokens - 3, cache_read_input_tokens: 3 },
    ...{ cache_creation_input_tokens: 0, output_tokens: 6, server_tool_use: null },
    ...{ output_tokens_details: { thinking_tokens: 0 }, service_tier: "standard" },
  });
  const { max_tokens: _, ...prompt } = CHAT;
  const count = await server.post(`${PATH}/count_tokens`, { ...prompt, system });
  assertEquals(await count.json(), { input_tokens });
  assertEquals(server.engine.requests.length, 1);
});

Deno.test("a stream builds the message that one JSON would have been", async () => {
  const tools = [TOOL];
  const cases: [text: string, fields: object, kinds: string[], reason: string][] = [
    ["Hello", {}, ["text"], "end_turn"],
    ["", {}, [], "end_turn"],
    ["Hello", { max_tokens: 3 }, ["text"], "max_tokens"],
    ["Hello STOP", { stop_sequences: ["STOP"] }, ["text"], "stop_sequence"],
    [CALL + CALL, { tools }, ["tool_use", "tool_use"], "tool_use"],
    [`Let me see. ${CALL}`, { tools }, ["text", "tool_use"], "tool_use"],
    [CALL, { tools, max_tokens: 20 }, [], "max_tokens"],
    ["<think>Well</think>Yes", THINKING, ["thinking", "text"], "end_turn"],
    ["<think>Well</think>Yes", {}, ["text"], "end_turn"],
    [`<think>A</think>${CALL}`, { ...THINKING, tools }, ["thinking", "tool_use"], "tool_use"],
    ["x".repeat(300), { max_tokens: 1000 }, ["text"], "model_context_window_exceeded"],
  ];
  for (const [text, fields, kinds, reason] of cases) {
    const server = serverThatSays(text, text.includes("<think>"));
    const { id: _, ...whole } = await ask(server, fields);
    const { id: __, ...streamed } = await stream(server, fields);
    const comparable = (message: Omit<MessageObject, "id">) => ({
      ...message,
      content: message.content.map((block) => "id" in block ? { ...block, id: "" } : block),
    });
    assertEquals(comparable(streamed), comparable(whole), text);
    assertEquals([whole.content.map(({ type }) => type), whole.stop_reason], [kinds, reason], text);
    assertEquals(whole.stop_sequence, reason === "stop_sequence" ? "STOP" : null);
  }
});

Deno.test("a model thinks where it is asked to, within the budget, and is told so otherwise", async () => {
  const server = serverThatSays("<think>Well</think>Yes", true);
  const [thought] = (await ask(server, THINKING)).content;
  assert(thought?.type === "thinking" && thought.signature !== "");
  assertEquals(server.kept.options[0]!.variables, { enable_thinking: true });
  assertEquals(server.engine.sequences[0]!.params.thinkingBudget!.maxTokens, 50);
  await ask(server);
  assertEquals(server.kept.options[1]!.variables, { enable_thinking: false });
  await ask(server, { thinking: { type: "disabled" } });
  assertEquals(server.kept.options[2]!.variables, { enable_thinking: false });
  const omitted = await ask(server, { thinking: { type: "adaptive", display: "omitted" } });
  assertEquals(omitted.content.map(({ type }) => type), ["text"]);
});

Deno.test("what a model cannot be told about thinking is named in a header", async () => {
  const asked = { ...THINKING, output_config: { effort: "high" } };
  const ignored = async (server: TestServer, fields: object) => {
    const response = await server.post(PATH, { ...CHAT, ...fields });
    await response.json();
    return [response.status, response.headers.get("x-quire-ignored-fields")];
  };
  const plain = serverThatSays("Yes");
  assertEquals(await ignored(plain, asked), [200, "thinking, output_config.effort"]);
  assertEquals(plain.engine.sequences[0]!.params.thinkingBudget, undefined);
  assertEquals(await ignored(plain, { thinking: { type: "disabled" } }), [200, null]);
  assertEquals(await ignored(serverThatSays("Yes", true), asked), [200, "output_config.effort"]);
});

Deno.test("tools are forced as chats force them", async () => {
  const server = serverThatSays('{"zone": "UTC"}');
  const choice = { tools: [TOOL], tool_choice: { type: "tool", name: "now" } };
  const named = await ask(server, choice);
  const [call] = named.content;
  assert(call?.type === "tool_use");
  assertEquals([call.name, call.input, named.stop_reason], ["now", { zone: "UTC" }, "tool_use"]);
  const { formats } = server.services.grammars as FakeGrammars;
  assertEquals(formats[0]!.format, { type: "json_schema", json_schema: TOOL.input_schema });
  const cut = await ask(server, { ...choice, max_tokens: 5 });
  assertEquals([cut.content, cut.stop_reason], [[], "max_tokens"]);
  const long = { ...TOOL, name: "n".repeat(128) };
  await ask(server, { tools: [long], tool_choice: { type: "tool", name: long.name } });
  const any = { type: "any", disable_parallel_tool_use: true };
  await ask(server, { tools: [TOOL], tool_choice: any });
  const forced = formats.at(-1)!.format;
  assert(forced.type === "tags_with_separator" && forced.stop_after_first === true);
  const schema = { type: "object" };
  await ask(server, { output_config: { format: { type: "json_schema", schema } } });
  assertEquals(formats.at(-1), {
    format: { type: "json_schema", json_schema: schema },
    param: "output_config.format",
  });
});

Deno.test("blocks become the conversation that the template reads", async () => {
  const server = serverThatSays("Hello");
  const text = (text: string) => ({ type: "text", text });
  await ask(server, {
    system: "S",
    messages: [
      { role: "user", content: [text("One"), text("more")] },
      { role: "user", content: "again" },
      {
        role: "assistant",
        content: [
          { type: "thinking", thinking: "t", signature: "x" },
          text("Two"),
          { type: "tool_use", id: "c1", name: "now", input: { a: 1 } },
          { type: "tool_use", id: "c2", name: "then", input: {} },
        ],
      },
      {
        role: "user",
        content: [
          { type: "tool_result", tool_use_id: "c2", content: [text("5"), text("6")] },
          { type: "tool_result", tool_use_id: "c1", content: "no", is_error: true },
          text("Three"),
        ],
      },
      { role: "assistant", content: "And so" },
    ],
  });
  const call = (id: string, name: string, given: object) => (
    { id, type: "function" as const, function: { name, arguments: given } }
  );
  assertEquals(server.kept.conversations[0], [
    { role: "system", content: "S" },
    { role: "user", content: "One\nmore\nagain" },
    {
      role: "assistant",
      content: "Two",
      tool_calls: [call("c1", "now", { a: 1 }), call("c2", "then", {})],
      reasoning_content: "t",
    },
    { role: "tool", content: "5\n6", tool_call_id: "c2", name: "then" },
    { role: "tool", content: "Error: no", tool_call_id: "c1", name: "now" },
    { role: "user", content: "Three" },
    { role: "assistant", content: "And so" },
  ]);
  // The last turn is the assistant's: the model goes on with it.
  const { addGenerationPrompt, continueFinalMessage } = server.kept.options[0]!;
  assertEquals([addGenerationPrompt, continueFinalMessage], [false, true]);
});

Deno.test("what is wrong, or not done, is refused by name and in Anthropic's shape", async () => {
  const server = serverThatSays("Hello");
  const use = { type: "tool_use", id: "c", name: "now", input: {} };
  const user = (...content: object[]) => ({ messages: [{ role: "user", content }] });
  const refused: [object, RegExp][] = [
    [{ max_tokens: undefined }, /^max_tokens is required/],
    [{ model: undefined }, /^model is required/],
    [{ colour: "red" }, /^colour is not a field/],
    [{ n: 2 }, /^n is not a field/],
    [{ messages: [] }, /^messages must be/],
    [{ temperature: 1.5 }, /^temperature must be at most 1/],
    [{ mcp_servers: [{}] }, /^mcp_servers is not supported/],
    [
      { context_management: { edits: [{ type: "clear_tool_uses" }] } },
      /^context_management is not/,
    ],
    [{ context_management: 5, speed: "fast" }, /^speed is not supported/],
    [{ thinking: { type: "enabled", budget_tokens: 0 } }, /^thinking.budget_tokens must be/],
    [{ output_config: { effort: "huge" } }, /^output_config.effort must be one of/],
    [{ tools: [{ type: "bash_20250124", name: "bash" }] }, /^tools.0.type "bash_20250124" is not/],
    [{ tools: [{ name: "now" }] }, /^tools.0.input_schema is required/],
    [{ tools: [{ name: "n".repeat(129), input_schema: {} }] }, /^tools.0.name must be 1 to 128/],
    [{ stop_sequences: ["\ud83d"] }, /^stop_sequences.0 must be well-formed/],
    [{ tool_choice: { type: "any" } }, /^tool_choice needs tools/],
    [{ tools: [TOOL], tool_choice: { type: "tool" } }, /^tool_choice.name is required/],
    [{ tools: [TOOL], tool_choice: { type: "any", name: "now" } }, /^tool_choice.name needs/],
    [
      user({ type: "image" }),
      /^messages.0.content.0.type is "image": the model quire\/test reads text alone$/,
    ],
    [user({ type: "text" }), /^messages.0.content.0.text is required/],
    [user(use), /^messages.0.content.0.type "tool_use" does not belong/],
    [
      user({ type: "tool_result", tool_use_id: "c", content: "" }),
      /^messages.0.content.0.tool_use_id "c" names no tool_use/,
    ],
    [{ messages: [{ role: "assistant", content: [use] }] }, /^messages has no tool_result/],
    [{ messages: [{ role: "user", content: "x".repeat(2000) }] }, /maximum context length/],
  ];
  for (const [fields, words] of refused) {
    const { status, type, message } = await refusal(server, fields);
    assertEquals([status, type], [400, "invalid_request_error"], message);
    assertMatch(message, words);
  }
  const unknown = await refusal(server, { model: "claude" });
  assertEquals([unknown.status, unknown.type], [404, "not_found_error"]);
  const old = await refusal(server, {}, { "anthropic-version": "2023-01-01" });
  assertMatch(old.message, /^anthropic-version must be 2023-06-01 or/);
  const form = await refusal(server, {}, { "content-type": "text/plain" });
  assertEquals([form.status, form.type], [415, "invalid_request_error"]);
});

Deno.test("a key comes as x-api-key, and the door refuses in Anthropic's shape", async () => {
  const access = { apiKeys: ["secret"], adminKeys: [], hostname: "127.0.0.1" };
  const server = testServer({ access });
  const { status, type } = await refusal(server, {});
  assertEquals([status, type], [401, "authentication_error"]);
  assertEquals((await refusal(server, {}, { "x-api-key": "wrong" })).status, 401);
  const headers = { "x-api-key": "secret", "anthropic-version": "2026-10-21" };
  const response = await server.post(PATH, CHAT, headers);
  assertEquals(response.status, 200);
  assertEquals(response.headers.get("request-id"), response.headers.get("x-request-id"));
  const nothing = await server.post(`${PATH}/batches`, {}, headers);
  assertEquals(MessageError.parse(await nothing.json()).error.type, "not_found_error");
});

Deno.test("an engine that is full or fails says so in Anthropic's shape, streamed or not", async () => {
  const server = serverThatSays("Hello");
  server.engine.override = (event, outputIndex) =>
    outputIndex < 2 ? event : {
      ...{ requestId: event.requestId, index: event.index, finishReason: "error" },
      error: { status: 500, type: "server_error", code: "x", message: "It broke", param: null },
    };
  const response = await server.post(PATH, { ...CHAT, stream: true });
  const last = eventsOf(await response.text()).at(-1);
  assertEquals(MessageError.parse(last).error, { type: "api_error", message: "It broke" });
  assertEquals((await refusal(server, {})).type, "api_error");
  server.engine.refusal = new RequestError("Full", { status: 429, code: "queue_full" });
  assertEquals((await refusal(server, { stream: true })).type, "rate_limit_error");
  server.engine.state = "starting";
  assertEquals((await refusal(server, {})).type, "overloaded_error");
});

Deno.test("a silent stream is kept alive with pings", async () => {
  const plain = testServer();
  const server = testServer({ limits: { ...plain.services.limits, keepAliveMs: 1 } });
  server.engine.isManual = true;
  const response = await server.post(PATH, { ...CHAT, stream: true });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  server.engine.run.step();
  let text = "";
  while (text.split("event: ping\n").length < 4) text += (await reader.read()).value ?? "";
  server.engine.run.step(100);
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
  }
  const { content } = checkMessageStream(eventsOf(text));
  assertEquals(content, [{ type: "text", text: "Hello", citations: null }]);
});
