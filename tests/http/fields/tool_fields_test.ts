import { assert, assertEquals, assertThrows } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import { type ToolFields, toolUseOf } from "../../../src/http/fields/tool_fields.ts";
import { bytesOf } from "../fake_engine.ts";
import { FakeText } from "../fake_text.ts";
import type { FakeGrammars } from "../fake_grammars.ts";
import { CHAT, readEvents, type TestServer, testServer } from "../server.ts";

const TOOL = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Weather of a city",
    parameters: { type: "object", properties: { city: { type: "string" } } },
  },
};
const OTHER = { type: "function", function: { name: "now" } };
const NAMED = { type: "function", function: { name: "get_weather" } };
const CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>';

function serverThatSays(text: string): TestServer {
  const server = testServer();
  server.engine.script = () => bytesOf(text);
  return server;
}

async function refusal(server: TestServer, fields: Record<string, unknown>) {
  const response = await server.post("/v1/chat/completions", { ...CHAT, ...fields });
  const { error } = await response.json();
  return [response.status, error.param, error.message];
}

function useOf(fields: unknown) {
  return toolUseOf(fields as ToolFields);
}

Deno.test("toolUseOf() reads who may be called, and who has to be", () => {
  const tools = [TOOL, OTHER];
  assertEquals(useOf({}), undefined);
  assertEquals(useOf({ tools: [], tool_choice: "auto" }), undefined);
  assertEquals(useOf({ tools, tool_choice: "none" }), undefined);
  const auto = useOf({ tools })!;
  assertEquals([auto.choice, auto.forced, auto.isParallel], ["auto", [], true]);
  assertEquals(auto.tools, [TOOL.function, OTHER.function]);
  const required = useOf({ tools, tool_choice: "required", parallel_tool_calls: false })!;
  assertEquals([required.choice, required.forced.length, required.isParallel], [
    "required",
    2,
    false,
  ]);
  const named = useOf({ tools, tool_choice: NAMED })!;
  assertEquals([named.choice, named.forced], ["named", [TOOL.function]]);
  assertThrows(() => useOf({ tool_choice: "required" }), RequestError, "tool_choice needs tools");
  assertThrows(
    () => useOf({ tools: [OTHER], tool_choice: NAMED }),
    RequestError,
    "the tools are now",
  );
});

Deno.test("tools that are not right are refused by name", async () => {
  const server = testServer();
  const refused: [Record<string, unknown>, string][] = [
    [{ tools: "x" }, "tools"],
    [{ tools: [{ type: "web_search" }] }, "tools.0.type"],
    [{ tools: [{ type: "function", function: { name: "a b" } }] }, "tools.0.function.name"],
    [
      { tools: [{ type: "function", function: { name: "a", parameters: 1 } }] },
      "tools.0.function.parameters",
    ],
    [{ tools: new Array(200).fill(OTHER) }, "tools"],
    [{ tools: [TOOL], tool_choice: "sometimes" }, "tool_choice"],
    [
      { tools: [TOOL], tool_choice: "required", response_format: { type: "json_object" } },
      "response_format",
    ],
    [{ tools: [TOOL], tool_choice: "required", ignore_eos: true }, "ignore_eos"],
  ];
  for (const [fields, param] of refused) {
    assertEquals((await refusal(server, fields)).slice(0, 2), [400, param], JSON.stringify(fields));
  }
  const unknown = testServer({ tools: { ...server.services.tools, notation: undefined } });
  const [status, param] = await refusal(unknown, { tools: [TOOL] });
  assertEquals([status, param], [400, "tools"]);
  const forced = await unknown.post("/v1/chat/completions", {
    ...CHAT,
    tools: [TOOL],
    tool_choice: NAMED,
  });
  assertEquals(forced.status, 200);
});

Deno.test("a free call is a call, with an id, and nothing of it is content", async () => {
  const server = serverThatSays(`Let me see. ${CALL}`);
  const response = await server.post("/v1/chat/completions", { ...CHAT, tools: [TOOL] });
  const { choices: [choice] } = await response.json();
  const [call] = choice.message.tool_calls;
  assertEquals([choice.finish_reason, choice.message.content], ["tool_calls", "Let me see."]);
  assertEquals([call.type, call.function.name, JSON.parse(call.function.arguments)], [
    ...["function", "get_weather"],
    { city: "Paris" },
  ]);
  assert(/^call_\w{24}$/.test(call.id));

  server.engine.script = () => bytesOf(CALL);
  const silent = await server.post("/v1/chat/completions", { ...CHAT, tools: [TOOL] });
  assertEquals((await silent.json()).choices[0].message.content, null);
  server.engine.script = () => bytesOf("No call");
  const plain = await (await server.post("/v1/chat/completions", { ...CHAT, tools: [TOOL] }))
    .json();
  assertEquals(plain.choices[0].finish_reason, "stop");
  assertEquals(plain.choices[0].message.tool_calls, undefined);
});

Deno.test("a stream has id, type and name on each call's first delta, and the right finish", async () => {
  const server = serverThatSays(`Hi ${CALL}${CALL}`);
  const response = await server.post("/v1/chat/completions", {
    ...CHAT,
    ...{ tools: [TOOL], stream: true, n: 2, logprobs: true },
  });
  const events = (await readEvents(response)).slice(0, -1);
  for (const index of [0, 1]) {
    const own = events.map(({ choices }) => choices[0]).filter((choice) => choice.index === index);
    const deltas = own.map(({ delta }) => delta);
    assertEquals(deltas.map(({ content }) => content ?? "").join(""), "Hi");
    const calls = deltas.flatMap(({ tool_calls }) => tool_calls ?? []);
    assertEquals(calls.map((call) => call.index), [0, 0, 1, 1]);
    for (const first of [calls[0], calls[2]]) {
      assertEquals([first.type, first.function], ["function", {
        name: "get_weather",
        arguments: "",
      }]);
      assert(/^call_/.test(first.id));
    }
    for (const later of [calls[1], calls[3]]) {
      assertEquals(Object.keys(later), ["index", "function"]);
      assertEquals(JSON.parse(later.function.arguments), { city: "Paris" });
    }
    assertEquals(own.at(-1).finish_reason, "tool_calls");
    assert(own.slice(0, -1).every((choice) => choice.finish_reason === null));
    const numScored = own.flatMap(({ logprobs }) => logprobs?.content ?? []).length;
    assertEquals(numScored, bytesOf(`Hi ${CALL}${CALL}`).length);
  }
});

Deno.test("a call that max_tokens cuts off ends with length, and is neither call nor content", async () => {
  const server = serverThatSays(CALL);
  const response = await server.post("/v1/chat/completions", {
    ...CHAT,
    tools: [TOOL],
    max_tokens: 20,
  });
  const { choices: [choice] } = await response.json();
  assertEquals([choice.finish_reason, choice.message.content, choice.message.tool_calls], [
    ...["length", "", undefined],
  ]);
});

Deno.test("required and named calls are forced by a grammar, and read by what it says", async () => {
  const server = serverThatSays(
    '{"name": "now", "parameters": {}}, {"name": "now", "parameters": {}}',
  );
  const grammars = server.services.grammars as FakeGrammars;
  const ask = async (tool_choice: unknown) => {
    const body = { ...CHAT, tools: [TOOL, OTHER], tool_choice };
    return (await (await server.post("/v1/chat/completions", body)).json()).choices[0];
  };
  const required = await ask("required");
  assertEquals(required.finish_reason, "tool_calls");
  assertEquals(required.message.tool_calls.length, 2);
  assertEquals(grammars.formats[0]!.format.type, "tags_with_separator");
  server.engine.script = () => bytesOf('{"city": "Rome"}');
  const named = await ask(NAMED);
  assertEquals([named.finish_reason, named.message.tool_calls[0].function], [
    "stop",
    { name: "get_weather", arguments: '{"city": "Rome"}' },
  ]);
  assertEquals(grammars.formats[1]!.format, {
    ...{ type: "json_schema", json_schema: TOOL.function.parameters },
  });
});

Deno.test("calls and their results go to the template as values, with the tools", async () => {
  const seen: unknown[] = [];
  class RecordingText extends FakeText {
    override encodeChat(...args: Parameters<FakeText["encodeChat"]>) {
      seen.push(...args);
      return super.encodeChat(...args);
    }
  }
  const server = testServer({ text: new RecordingText() });
  const call = {
    id: "c1",
    type: "function",
    function: { name: "get_weather", arguments: '{"city":"Paris"}' },
  };
  const messages = [
    { role: "user", content: "Weather?" },
    { role: "assistant", content: null, tool_calls: [call] },
    { role: "tool", tool_call_id: "c1", content: "sunny" },
  ];
  await server.post("/v1/chat/completions", { messages, tools: [TOOL] });
  assertEquals(seen[0], [
    { role: "user", content: "Weather?" },
    {
      ...{ role: "assistant", content: "" },
      tool_calls: [{ ...call, function: { name: "get_weather", arguments: { city: "Paris" } } }],
    },
    { role: "tool", content: "sunny", tool_call_id: "c1" },
  ]);
  assertEquals((seen[1] as { tools: unknown }).tools, [TOOL]);
  await server.post("/v1/chat/completions", { messages, tools: [TOOL], tool_choice: "none" });
  assertEquals((seen[3] as { tools?: unknown }).tools, undefined);

  const broken = { ...call, function: { name: "f", arguments: "{" } };
  const [status, param] = await refusal(server, {
    messages: [{ role: "assistant", content: "", tool_calls: [broken] }],
  });
  assertEquals([status, param], [400, "messages.0.tool_calls.0.function.arguments"]);
  const misplaced = await refusal(server, {
    messages: [{ role: "user", content: "", tool_calls: [call] }],
  });
  assertEquals(misplaced[1], "messages.0.tool_calls");
});
