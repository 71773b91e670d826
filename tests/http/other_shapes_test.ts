import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { checkMessageStream, MessageObject } from "../support/messages_format.ts";
import { checkResponseStream, ResponseObject } from "../support/responses_format.ts";
import { runs } from "../support/runs.ts";
import { bytesOf } from "./fake_engine.ts";
import { CHAT, type TestServer, testServer } from "./server.ts";

const SCHEMA = { type: "object", properties: {} };
const CALL = '<tool_call>{"name": "f", "arguments": {"a": "é"}}</tool_call>';

/** What a model may say: text, thoughts and calls, whole and broken, in any order. */
const fragments = fc.array(
  fc.constantFrom("a", " ", "\n", "é", "<think>", "</think>", CALL, "<tool_call>{", "STOP", "🦊"),
  { maxLength: 8 },
);
const answers = fc.record({
  text: fragments.map((parts) => parts.join("")),
  maxTokens: fc.oneof(fc.constant(200), fc.integer({ min: 1, max: 60 })),
  isForced: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
  hasSummary: fc.boolean(),
});

function thinkingServer(text: string): TestServer {
  const { model } = testServer().services;
  const thinking = { begin: "<think>", end: "</think>" };
  const server = testServer({ model: { ...model, thinking } });
  server.engine.script = () => bytesOf(text);
  return server;
}

/** The payloads of a stream and the one JSON of the same request. */
async function both(server: TestServer, path: string, body: object) {
  const whole = await (await server.post(path, body)).json();
  const text = await (await server.post(path, { ...body, stream: true })).text();
  const payloads = [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data!));
  return { whole, payloads };
}

/** An answer without what no two answers share. */
function comparable(value: object): object {
  const json = JSON.stringify(value, (key, inner) => VARYING.has(key) ? undefined : inner);
  return JSON.parse(json);
}
const VARYING = new Set(["id", "call_id", "completed_at", "created_at"]);

/** What the model says to it as a chat: thoughts, text and calls, each in one. */
async function chatOf(server: TestServer, { maxTokens, isForced }: Asked) {
  const response = await server.post("/v1/chat/completions", {
    ...{ ...CHAT, max_tokens: maxTokens, stop: "STOP" },
    tools: [{ type: "function", function: { name: "f", parameters: SCHEMA } }],
    ...(isForced ? { tool_choice: { type: "function", function: { name: "f" } } } : {}),
  });
  const { choices: [{ message }] } = await response.json();
  return {
    thoughts: message.reasoning_content ?? "",
    text: message.content ?? "",
    calls: (message.tool_calls ?? []).map((call: ChatCall) => call.function.arguments),
  };
}
type Asked = { readonly maxTokens: number; readonly isForced: boolean };
type ChatCall = { readonly function: { readonly arguments: string } };

Deno.test("whatever a model says, a response has it as a chat has, whole and streamed", async () => {
  await fc.assert(
    fc.asyncProperty(answers, async ({ text, hasSummary, ...asked }) => {
      const server = thinkingServer(text);
      const { whole, payloads } = await both(server, "/v1/responses", {
        ...{ input: "Hi", max_output_tokens: asked.maxTokens, stop: "STOP" },
        tools: [{ type: "function", name: "f", parameters: SCHEMA }],
        ...(asked.isForced ? { tool_choice: { type: "function", name: "f" } } : {}),
        ...(hasSummary ? { reasoning: { summary: "auto" } } : {}),
      });
      const response = checkResponseStream(payloads);
      assertEquals(comparable(response), comparable(ResponseObject.parse(whole)));
      const said = { thoughts: "", text: "", calls: [] as string[] };
      for (const item of response.output) {
        if (item.type === "function_call") said.calls.push(item.arguments);
        else if (item.type === "message") said.text += item.content[0]!.text;
        else said.thoughts += [...item.content ?? [], ...item.summary][0]!.text;
      }
      assertEquals(said, await chatOf(server, asked));
    }),
    { seed: 17, numRuns: runs(250) },
  );
});

Deno.test("whatever a model says, a message has it as a chat has, whole and streamed", async () => {
  await fc.assert(
    fc.asyncProperty(answers, async ({ text, ...asked }) => {
      const server = thinkingServer(text);
      const { whole, payloads } = await both(server, "/v1/messages", {
        ...{ model: "alias", ...CHAT, max_tokens: asked.maxTokens, stop_sequences: ["STOP"] },
        tools: [{ name: "f", input_schema: SCHEMA }],
        ...(asked.isForced ? { tool_choice: { type: "tool", name: "f" } } : {}),
        thinking: { type: "adaptive" },
      });
      const message = checkMessageStream(payloads);
      assertEquals(comparable(message), comparable(MessageObject.parse(whole)));
      const said = { thoughts: "", text: "", calls: [] as string[] };
      for (const block of message.content) {
        if (block.type === "tool_use") said.calls.push(JSON.stringify(block.input));
        else if (block.type === "text") said.text += block.text;
        else said.thoughts += block.thinking;
      }
      const { calls, ...chat } = await chatOf(server, asked);
      // A call that is no JSON, since max_tokens has cut it off, is left out.
      assertEquals(said, { ...chat, calls: calls.flatMap(wellFormed) });
    }),
    { seed: 18, numRuns: runs(250) },
  );
});

/** The arguments of a call, if they are an object of JSON. */
function wellFormed(given: string): string[] {
  try {
    const value = JSON.parse(given);
    return typeof value === "object" && value !== null ? [JSON.stringify(value)] : [];
  } catch {
    return [];
  }
}
