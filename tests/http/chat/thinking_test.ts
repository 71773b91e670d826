import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { RequestError } from "../../../src/core/errors.ts";
import type { ServedModel } from "../../../src/http/services.ts";
import {
  afterThinking,
  templateVariablesOf,
  type ThinkingFields,
  thinkingStart,
} from "../../../src/http/fields/thinking_fields.ts";
import { ThinkingParser, type ThinkingStart } from "../../../src/http/chat/thinking_parser.ts";
import { createToolService } from "../../../src/tools/tool_service.ts";
import { runs } from "../../support/runs.ts";
import { bytesOf } from "../fake_engine.ts";
import type { FakeGrammars } from "../fake_grammars.ts";
import { FakeText } from "../fake_text.ts";
import { CHAT, readEvents, type TestServer, testServer } from "../server.ts";

const MARKS = { begin: "<think>", end: "</think>" };

/** Texts, where they begin, and what they think and say. */
const RECORDED: readonly [ThinkingStart, string, string, string][] = [
  ["before", "<think>\nhm 1 < 2\n</think>\n\nYes. ", "hm 1 < 2", "Yes. "],
  ["before", "\n<think>a</think>b <think>c</think>", "a", "b <think>c</think>"],
  ["before", "  No thought < here </think>.", "", "  No thought < here </think>."],
  ["before", " ", "", " "],
  ["before", "<thin", "", "<thin"],
  ["inside", "hm\n\nwell </thin\n</think>\nYes", "hm\n\nwell </thin", "Yes"],
  ["inside", "cut off in the mid", "cut off in the mid", ""],
  ["inside", "cut </thi", "cut </thi", ""],
  ["behind", "\n<think>text</think>", "", "\n<think>text</think>"],
  ["before", "<think>\n\n</think>\n\nOnly this", "", "Only this"],
];

function parts(start: ThinkingStart, texts: readonly string[]) {
  const parser = new ThinkingParser(MARKS, start);
  const pieces = [...texts.flatMap((text) => parser.push(text)), ...parser.flush()];
  const of = (type: string) => pieces.map((one) => one.type === type ? one.text : "").join("");
  return [of("reasoning"), of("text")];
}

Deno.test("ThinkingParser parts thoughts from text, however the text is split", () => {
  for (const [start, text, thought, said] of RECORDED) {
    assertEquals(parts(start, [text]), [thought, said], text);
  }
  fc.assert(
    fc.property(
      fc.constantFrom(...RECORDED),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 10 }),
      ([start, text, thought, said], lengths) => {
        const texts: string[] = [];
        let at = 0;
        while (at < text.length) {
          const length = lengths[texts.length % lengths.length]!;
          texts.push(text.slice(at, at + length));
          at += length;
        }
        assertEquals(parts(start, texts), [thought, said]);
      },
    ),
    { seed: 61, numRuns: runs(10_000) },
  );
});

function thinkingServer(said: string, promptEnd = ""): TestServer {
  class Text extends FakeText {
    override async encodeChat(...args: Parameters<FakeText["encodeChat"]>) {
      const ids = await super.encodeChat(...args);
      return Uint32Array.from([...ids, ...bytesOf(promptEnd)]);
    }
  }
  const { services } = testServer();
  const model: ServedModel = {
    ...services.model,
    thinking: MARKS,
    templateVariables: ["enable_thinking"],
  };
  const tools = createToolService("hermes", undefined);
  const server = testServer({ model, text: new Text(), tools });
  server.engine.script = () => bytesOf(said);
  return server;
}

Deno.test("an answer has its thoughts under both names, and its text without them", async () => {
  const server = thinkingServer("<think>\nhm\n</think>\n\nYes");
  const response = await server.post("/v1/chat/completions", CHAT);
  const { choices: [{ message }], usage } = await response.json();
  assertEquals([message.content, message.reasoning_content, message.reasoning], [
    ...["Yes", "hm", "hm"],
  ]);
  // Bytes are tokens here: the mark that begins the thought is complete with its last one.
  assertEquals(usage.completion_tokens_details, {
    reasoning_tokens: ">\nhm\n</think>".length,
  });
  const include_usage = { ...CHAT, stream: true, stream_options: { include_usage: true } };
  const events = await readEvents(await server.post("/v1/chat/completions", include_usage));
  assertEquals(events.at(-2).usage.completion_tokens_details, usage.completion_tokens_details);
  const hidden = await server.post("/v1/chat/completions", { ...CHAT, include_reasoning: false });
  const { choices: [other] } = await hidden.json();
  assertEquals([other.message.content, "reasoning" in other.message], ["Yes", false]);
});

Deno.test("a stream has thoughts, text and calls in deltas of their own, in this order", async () => {
  const call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>';
  const server = thinkingServer(`hm <tool_call> no</think>\n\nSo:\n${call}`, "<think>\n");
  const tools = [{ type: "function", function: { name: "f" } }];
  const body = { ...CHAT, tools, stream: true, logprobs: true };
  const events = (await readEvents(await server.post("/v1/chat/completions", body))).slice(0, -1);
  const deltas = events.map(({ choices }) => choices[0].delta);
  const joined = (name: string) => deltas.map((delta) => delta[name] ?? "").join("");
  assertEquals(joined("reasoning_content"), "hm <tool_call> no");
  assertEquals(joined("reasoning"), joined("reasoning_content"));
  assertEquals(joined("content"), "So:");
  assertEquals(deltas.flatMap(({ tool_calls }) => tool_calls ?? [])[0].function.name, "f");
  assertEquals(events.at(-1).choices[0].finish_reason, "tool_calls");
  assert(deltas.every((delta) => !("reasoning" in delta && "content" in delta)));
  const scored = events.flatMap(({ choices }) => choices[0].logprobs?.content ?? []);
  assertEquals(scored.length, bytesOf(`hm <tool_call> no</think>\n\nSo:\n${call}`).length);
});

Deno.test("a grammar begins behind the thinking, wherever the prompt leaves it", async () => {
  const text = new FakeText();
  const start = (end: string) => thinkingStart(Uint32Array.from(bytesOf(end)), text, MARKS);
  assertEquals(["<think>\n", "<think>\n\n</think>\n\n", "assistant:"].map(start), [
    ...["inside", "behind", "before"] as const,
  ]);
  const format = { type: "regex", pattern: "a" } as const;
  assertEquals(afterThinking(format, MARKS, "behind"), format);
  const server = thinkingServer("a", "<think>\n");
  await server.post("/v1/chat/completions", { ...CHAT, structured_outputs: { regex: "a" } });
  const [asked] = (server.services.grammars as FakeGrammars).formats;
  assertEquals(asked!.format, afterThinking(format, MARKS, "inside"));
  assertEquals(asked!.format.type, "sequence");
  assertEquals(afterThinking(format, MARKS, "before").type, "or");
});

Deno.test("templateVariablesOf() sets what the template reads, and refuses the rest by name", () => {
  const model = { thinking: MARKS, templateVariables: ["enable_thinking", "reasoning_effort"] };
  const of = (fields: ThinkingFields, known = model) => templateVariablesOf(fields, known);
  assertEquals(of({}), {});
  assertEquals(of({ chat_template_kwargs: { enable_thinking: false } }), {
    enable_thinking: false,
  });
  assertEquals(of({ reasoning_effort: "low" }), { enable_thinking: true, reasoning_effort: "low" });
  assertEquals(of({ reasoning_effort: "none" }), {
    enable_thinking: false,
    reasoning_effort: "none",
  });
  const refused: [ThinkingFields, string][] = [
    [{ chat_template_kwargs: { messages: [] } }, "chat_template_kwargs.messages is not allowed"],
    [{ chat_template_kwargs: { tools: true } }, "chat_template_kwargs.tools is not allowed"],
    [{ chat_template_kwargs: { enable_thinking: "no" } }, "must be a boolean, got string"],
    [{ chat_template_kwargs: { thinking: true } }, "thinking is not read by the model's"],
  ];
  for (const [fields, words] of refused) assertThrows(() => of(fields), RequestError, words);
  const plain = { templateVariables: [] as string[] };
  assertEquals(templateVariablesOf({ reasoning_effort: "none" }, plain), {});
  assertThrows(() => templateVariablesOf({ reasoning_effort: "high" }, plain), RequestError);
});

Deno.test("a budget of thoughts goes to each sequence, with the tokens of the marks", async () => {
  const server = thinkingServer("Yes", "<think>\n");
  await server.post("/v1/chat/completions", { ...CHAT, n: 2, thinking_token_budget: 7 });
  for (const { params } of server.engine.sequences) {
    assertEquals(params.thinkingBudget, {
      ...{ maxTokens: 7, beginTokens: [], vocabSize: new FakeText().vocabSize },
      endTokens: bytesOf("</think>"),
    });
  }
  const before = thinkingServer("Yes");
  await before.post("/v1/chat/completions", { ...CHAT, thinking_token_budget: 0 });
  const { thinkingBudget } = before.engine.sequences[0]!.params;
  assertEquals(thinkingBudget!.beginTokens, bytesOf("<think>"));
  const refused: [TestServer, Record<string, unknown>][] = [
    [testServer(), {}],
    [before, { use_beam_search: true }],
    [before, { thinking_token_budget: -1 }],
  ];
  for (const [one, fields] of refused) {
    const response = await one.post("/v1/chat/completions", {
      ...CHAT,
      ...{ thinking_token_budget: 7, ...fields },
    });
    assertEquals([response.status, (await response.json()).error.param], [
      ...[400, "thinking_token_budget"],
    ]);
  }
});
