import { assert, assertEquals, assertMatch } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import type { ChatMessage } from "../../../src/http/text_port.ts";
import { checkResponseStream, ResponseObject } from "../../support/responses_format.ts";
import { bytesOf } from "../fake_engine.ts";
import type { FakeGrammars } from "../fake_grammars.ts";
import { FakeText } from "../fake_text.ts";
import { type TestServer, testServer } from "../server.ts";

const PATH = "/v1/responses";
const CALL = '<tool_call>{"name": "now", "arguments": {"zone": "UTC"}}</tool_call>';
const TOOL = {
  type: "function",
  name: "now",
  description: "The time",
  parameters: { type: "object", properties: { zone: { type: "string" } } },
  strict: true,
};
const MARKS = { begin: "<think>", end: "</think>" };

function serverThatSays(text: string, thinks = false): TestServer {
  const plain = testServer();
  const server = thinks
    ? testServer({ model: { ...plain.services.model, thinking: MARKS } })
    : plain;
  server.engine.script = () => bytesOf(text);
  return server;
}

async function ask(server: TestServer, fields: object): Promise<ResponseObject> {
  const response = await server.post(PATH, { input: "Hi", ...fields });
  const body = await response.json();
  assertEquals(response.status, 200, JSON.stringify(body));
  return ResponseObject.parse(body);
}

async function stream(server: TestServer, fields: object): Promise<ResponseObject> {
  const response = await server.post(PATH, { input: "Hi", stream: true, ...fields });
  assertEquals(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  const text = await response.text();
  const events = text.split("\n\n").slice(0, -1).map((event) => {
    const [, name, data] = /^event: (\S+)\ndata: (.*)$/.exec(event)!;
    const payload = JSON.parse(data!);
    assertEquals(payload.type, name);
    return payload;
  });
  return checkResponseStream(events);
}

/** What differs between any two answers. */
function comparable({ id: _, created_at: __, completed_at: ___, output, ...rest }: ResponseObject) {
  const items = output.map(({ id: _, ...item }) =>
    "call_id" in item ? { ...item, call_id: "" } : item
  );
  return { ...rest, items };
}

async function refusal(server: TestServer, fields: object) {
  const response = await server.post(PATH, { input: "Hi", ...fields });
  const { error } = await response.json();
  return [response.status, error?.param, error?.code];
}

/** Keeps what goes to the chat template. */
class KeptText extends FakeText {
  readonly conversations: (readonly ChatMessage[])[] = [];
  override encodeChat(...args: Parameters<FakeText["encodeChat"]>) {
    this.conversations.push(args[0]);
    return super.encodeChat(...args);
  }
}

Deno.test("a response has its text, its usage and the settings that hold", async () => {
  const server = serverThatSays("Hello");
  server.engine.numCachedTokens = 3;
  const fields = { instructions: "Be brief", store: true, metadata: { a: "b" }, temperature: 0.5 };
  const response = await ask(server, { ...fields, max_output_tokens: 20, user: "me" });
  const [item] = response.output;
  assert(item?.type === "message");
  assertEquals([item.status, item.content[0]!.text], ["completed", "Hello"]);
  assertEquals([response.status, response.store, response.error], ["completed", false, null]);
  const { usage, metadata, temperature, instructions, max_output_tokens } = response;
  const input_tokens = "system:Be brief\nuser:Hi\nassistant:".length;
  assertEquals(usage, {
    input_tokens,
    input_tokens_details: { cached_tokens: 3, cache_write_tokens: 0 },
    ...{ output_tokens: 6, output_tokens_details: { reasoning_tokens: 0 } },
    total_tokens: input_tokens + 6,
  });
  assertEquals([metadata, temperature, instructions, max_output_tokens], [
    ...[{ a: "b" }, 0.5, "Be brief", 20],
  ]);
  assertEquals(server.engine.sequences[0]!.params.maxTokens, 20);
  const count = await server.post(`${PATH}/input_tokens`, {
    input: "Hi",
    instructions: "Be brief",
  });
  assertEquals(await count.json(), { object: "response.input_tokens", input_tokens });
});

Deno.test("a stream builds the response that one JSON would have been", async () => {
  const call = { tools: [TOOL] };
  const cases: [text: string, fields: object, kinds: string[], status: string][] = [
    ["Hello", {}, ["message"], "completed"],
    ["", {}, ["message"], "completed"],
    ["Hello", { max_output_tokens: 3 }, ["message"], "incomplete"],
    [CALL + CALL, call, ["function_call", "function_call"], "completed"],
    [`Let me see. ${CALL}`, call, ["message", "function_call"], "completed"],
    ["<think>Well</think>Yes", {}, ["reasoning", "message"], "completed"],
    ["<think>Well</think>Yes", { max_output_tokens: 9 }, ["reasoning"], "incomplete"],
    [`<think>A</think>${CALL}`, call, ["reasoning", "function_call"], "completed"],
    [
      "<think>A</think>B",
      { reasoning: { summary: "auto" } },
      ["reasoning", "message"],
      "completed",
    ],
  ];
  for (const [text, fields, kinds, status] of cases) {
    const server = serverThatSays(text, text.includes("<think>"));
    const whole = await ask(server, fields);
    const streamed = await stream(server, fields);
    assertEquals(comparable(streamed), comparable(whole), text);
    assertEquals([whole.output.map(({ type }) => type), whole.status], [kinds, status], text);
    const isCut = status === "incomplete";
    assertEquals(whole.incomplete_details, isCut ? { reason: "max_output_tokens" } : null);
    assertEquals(whole.output.at(-1)!.status, status);
  }
});

Deno.test("thoughts come as reasoning, or as a summary where one is asked for, and are counted", async () => {
  const server = serverThatSays("<think>Well</think>Yes", true);
  const [raw] = (await ask(server, {})).output;
  assert(raw?.type === "reasoning");
  assertEquals([raw.content, raw.summary], [[{ type: "reasoning_text", text: "Well" }], []]);
  const response = await ask(server, { reasoning: { summary: "detailed" } });
  const [summed] = response.output;
  assert(summed?.type === "reasoning");
  assertEquals([summed.content, summed.summary], [undefined, [
    { type: "summary_text", text: "Well" },
  ]]);
  const { reasoning_tokens } = response.usage!.output_tokens_details;
  // From the token that completes the first mark to the one that completes the last.
  assertEquals(reasoning_tokens, ">Well</think>".length);
});

Deno.test("calls are forced as chats force them, and named ones that are cut off say so", async () => {
  const server = serverThatSays('{"zone": "UTC"}');
  const choice = { tools: [TOOL], tool_choice: { type: "function", name: "now" } };
  const { output: [named], tools, tool_choice } = await ask(server, choice);
  assert(named?.type === "function_call");
  assertEquals([named.name, JSON.parse(named.arguments), named.status], [
    ...["now", { zone: "UTC" }, "completed"],
  ]);
  assertEquals([tools, tool_choice], [[TOOL], choice.tool_choice]);
  const { formats } = server.services.grammars as FakeGrammars;
  assertEquals(formats[0]!.format, { type: "json_schema", json_schema: TOOL.parameters });
  const cut = await ask(server, { ...choice, max_output_tokens: 5 });
  assertEquals([cut.status, cut.output[0]!.status], ["incomplete", "incomplete"]);
  await ask(serverThatSays(""), { tools: [TOOL], tool_choice: "required" });
});

Deno.test("functions in namespaces have one name for the model, and two for the client", async () => {
  const text = new KeptText();
  const server = testServer({ text });
  const call = CALL.replace("now", "clock.now");
  server.engine.script = () => bytesOf(call);
  const inner = { type: "function", name: "now", parameters: TOOL.parameters };
  const tools = [{ type: "namespace", name: "clock", description: "Times", tools: [inner] }];
  const [item] = (await ask(server, { tools })).output;
  assert(item?.type === "function_call");
  assertEquals([item.namespace, item.name], ["clock", "now"]);
  const { id: _, ...again } = item;
  const output = { type: "function_call_output", call_id: item.call_id, output: "5" };
  await ask(server, { tools, input: [{ role: "user", content: "Hi" }, again, output] });
  const [, asked, answered] = text.conversations[1]!;
  assertEquals([asked!.tool_calls![0]!.function.name, answered!.name], ["clock.now", "clock.now"]);
  const choice = { type: "function", namespace: "clock", name: "now" };
  await stream(server, { tools, tool_choice: choice });
  const refused: [object, string][] = [
    [{ tools: [{ ...tools[0], tools: [{ type: "custom", name: "a" }] }] }, "tools.0.tools.0.type"],
    [{ tools: [{ type: "namespace", name: "clock" }] }, "tools.0.tools"],
  ];
  for (const [fields, param] of refused) {
    assertEquals((await refusal(server, fields)).slice(0, 2), [400, param]);
  }
});

Deno.test("text.format holds the answer to a schema", async () => {
  const server = serverThatSays("{}");
  const schema = { type: "object", properties: {} };
  const format = { type: "json_schema" as const, name: "a", schema, strict: true };
  assertEquals((await ask(server, { text: { format } })).text.format, format);
  await ask(server, { text: { format: { type: "json_object" } } });
  const { formats } = server.services.grammars as FakeGrammars;
  assertEquals(formats, [
    { format: { type: "json_schema", json_schema: schema }, param: "text.format" },
    { format: { type: "json_schema", json_schema: { type: "object" } }, param: "text.format" },
  ]);
});

Deno.test("input items become the conversation that the template reads", async () => {
  const text = new KeptText();
  const server = testServer({ text });
  await ask(server, {
    instructions: "A",
    input: [
      { role: "developer", content: "B" },
      { type: "message", role: "user", content: [{ type: "input_text", text: "One" }] },
      {
        type: "reasoning",
        id: "rs_1",
        summary: [],
        content: [{ type: "reasoning_text", text: "t" }],
      },
      {
        type: "message",
        id: "msg_1",
        status: "completed",
        role: "assistant",
        content: [{ type: "output_text", text: "Two", annotations: [] }],
      },
      { type: "function_call", id: "fc_1", call_id: "c1", name: "now", arguments: '{"a":1}' },
      { type: "function_call", call_id: "c2", name: "then", arguments: "" },
      { type: "function_call_output", call_id: "c2", output: [{ type: "input_text", text: "5" }] },
      { type: "function_call_output", call_id: "c1", output: "6" },
      { type: "reasoning", id: "rs_2", summary: [{ type: "summary_text", text: "u" }] },
      { role: "assistant", content: "Three" },
      { role: "assistant", content: "Four" },
      { role: "user", content: "Five" },
    ],
  });
  const call = (id: string, name: string, given: object) => (
    { id, type: "function" as const, function: { name, arguments: given } }
  );
  assertEquals(text.conversations[0], [
    { role: "system", content: "A\n\nB" },
    { role: "user", content: "One" },
    {
      role: "assistant",
      content: "Two",
      tool_calls: [call("c1", "now", { a: 1 }), call("c2", "then", {})],
      reasoning_content: "t",
    },
    { role: "tool", content: "5", tool_call_id: "c2", name: "then" },
    { role: "tool", content: "6", tool_call_id: "c1", name: "now" },
    { role: "assistant", content: "Three", reasoning_content: "u" },
    { role: "assistant", content: "Four" },
    { role: "user", content: "Five" },
  ]);
});

Deno.test("what would change the answer and is not done is refused by name", async () => {
  const server = testServer();
  const refused: [object, string][] = [
    [{ previous_response_id: "resp_1" }, "previous_response_id"],
    [{ conversation: "conv_1" }, "conversation"],
    [{ background: true }, "background"],
    [{ truncation: "auto" }, "truncation"],
    [{ prompt: { id: "p" } }, "prompt"],
    [{ top_logprobs: 2 }, "top_logprobs"],
    [{ include: ["message.output_text.logprobs"] }, "include.0"],
    [{ text: { verbosity: "low" } }, "text.verbosity"],
    [{ reasoning: { effort: "high" } }, "reasoning.effort"],
    [{ thinking_token_budget: 5 }, "thinking_token_budget"],
    [{ tools: [{ type: "web_search" }] }, "tools.0.type"],
    [{ tools: [TOOL], tool_choice: { type: "allowed_tools" } }, "tool_choice.type"],
    [{ input: [{ type: "item_reference", id: "msg_1" }] }, "input.0.type"],
    [{ input: [{ type: "computer_call" }] }, "input.0.type"],
    [{ input: [{ role: "user", content: [{ type: "input_image" }] }] }, "input.0.content.0.type"],
    [
      { input: [{ type: "reasoning", summary: [], encrypted_content: "x" }] },
      "input.0.encrypted_content",
    ],
  ];
  for (const [fields, param] of refused) {
    assertEquals(await refusal(server, fields), [400, param, "unsupported_parameter"]);
  }
  const wrong: [object, string, string][] = [
    [{ colour: "red" }, "colour", "unknown_parameter"],
    [{ n: 2 }, "n", "unknown_parameter"],
    [{ reasoning: { depth: 1 } }, "reasoning.depth", "unknown_parameter"],
    [{ input: undefined }, "input", "missing_required_parameter"],
    [{ input: [] }, "input", "invalid_value"],
    [{ input: [{ content: "a" }] }, "input.0.role", "missing_required_parameter"],
    [
      { input: [{ type: "function_call_output", call_id: "c", output: "" }] },
      ...["input.0.call_id", "invalid_value"] as const,
    ],
    [
      { input: [{ type: "function_call", call_id: "c", name: "f", arguments: "{" }] },
      ...["input.0.arguments", "invalid_value"] as const,
    ],
    [{ text: { format: { type: "json_schema", name: "a" } } }, "text.format.schema", ""],
    [{ max_output_tokens: 500 }, "input", "context_length_exceeded"],
    [{ tool_choice: "required" }, "tool_choice", "invalid_value"],
  ];
  for (const [fields, param, code] of wrong) {
    const [status, named, why] = await refusal(server, fields);
    assertEquals([status, named], [400, param], JSON.stringify(fields));
    if (code !== "") assertEquals(why, code);
  }
  assertEquals((await refusal(server, { model: "gpt-5" }))[0], 404);
  for (const method of ["GET", "DELETE"]) {
    const response = await server.request(`${PATH}/resp_1`, { method });
    const { error } = await response.json();
    assertEquals([response.status, error.code], [404, "response_not_found"]);
    assertMatch(error.message, /"resp_1" is not here: this server stores none/);
  }
});

Deno.test("an engine that fails within a stream ends it as failed, and before it as an error", async () => {
  const server = serverThatSays("Hello");
  server.engine.override = (event, outputIndex) =>
    outputIndex < 2 ? event : {
      ...{ requestId: event.requestId, index: event.index, finishReason: "error" },
      error: { status: 500, type: "server_error", code: "x", message: "It broke", param: null },
    };
  const response = await server.post(PATH, { input: "Hi", stream: true });
  const text = await response.text();
  const last = JSON.parse(text.trimEnd().split("data: ").at(-1)!);
  assertMatch(text, /event: response\.failed\n/);
  assertEquals(ResponseObject.parse(last.response).error, {
    code: "server_error",
    message: "It broke",
  });
  assertEquals((await refusal(server, {}))[0], 500);
  server.engine.refusal = new RequestError("Full", { status: 429, code: "queue_full" });
  assertEquals((await refusal(server, { stream: true })).slice(0, 1), [429]);
});

Deno.test("this server's own fields act as they do in chats", async () => {
  const server = serverThatSays("Hello STOP");
  const response = await ask(server, { top_k: 3, seed: 5, stop: "STOP", explain: true });
  assert(response.quire !== undefined);
  const { params } = server.engine.sequences[0]!;
  assertEquals([params.topK, params.seed], [3, 5]);
  const [item] = response.output;
  assert(item?.type === "message");
  assertEquals(item.content[0]!.text, "Hello ");
});
