import { assertEquals, assertThrows } from "@std/assert";
import { ChatRequest } from "../../src/http/openai/chat_schema.ts";
import type { Message, Settings } from "../../src/window/page/conversation.ts";
import { eventsOf } from "../../src/window/page/event_stream.ts";
import { isContinuable, requestBody } from "../../src/window/page/request_body.ts";

const QUESTION: Message = { id: "q", parent: null, role: "user", content: "Hi", status: "done" };
const ANSWER: Message = { ...QUESTION, id: "a", parent: "q", role: "assistant", content: "Well," };

Deno.test("what the page asks for is what the schema of a chat takes", () => {
  const settings: Settings = {
    ...{ system: " Be short. ", temperature: 0, top_p: 0.9, top_k: 40, min_p: 0.1, seed: 7 },
    ...{ repetition_penalty: 1.1, presence_penalty: 0.1, frequency_penalty: 0.2, max_tokens: 9 },
    ...{ stop: "a\n\nb", thinking: false, format: "schema", schema: '{"type": "object"}' },
  };
  const body = requestBody([QUESTION], settings);
  const read = ChatRequest.parse(body);
  assertEquals(read.messages.map(({ role, content }) => [role, content]), [
    ["system", "Be short."],
    ["user", "Hi"],
  ]);
  assertEquals([read.temperature, read.stop, read.seed], [0, ["a", "b"], 7]);
  assertEquals(body.chat_template_kwargs, { enable_thinking: false });
  const schema = { type: "object" };
  const json_schema = { name: "answer", schema };
  assertEquals(body.response_format, { type: "json_schema", json_schema });
  const broken: Settings = { format: "schema", schema: "{" };
  assertThrows(() => requestBody([QUESTION], broken), Error, "The JSON schema cannot be read");
});

Deno.test("without settings the model's own hold, and an answer with a beginning is continued", () => {
  const plain = requestBody([QUESTION], {});
  assertEquals(Object.keys(plain).sort(), [
    ...["explain", "messages", "stream", "stream_options", "timings"],
  ]);
  const continued = ChatRequest.parse(requestBody([QUESTION, ANSWER], {}));
  assertEquals([continued.continue_final_message, continued.add_generation_prompt], [true, false]);
  assertEquals(isContinuable(ANSWER, {}), true);
  assertEquals(isContinuable({ ...ANSWER, content: "", reasoning: "Hm" }, {}), false);
  assertEquals(isContinuable(ANSWER, { format: "json" }), false);
});

Deno.test("events are read however their bytes are cut, and a lost connection is told", async () => {
  const text = `: quiet\n\ndata: {"a":"é"}\n\ndata: {"b":2}\n\ndata: [DONE]\n\n`;
  const bytes = new TextEncoder().encode(text);
  const cut = (...ends: number[]) =>
    ReadableStream.from(
      [...ends, bytes.length].map((end, i) => bytes.slice(ends[i - 1] ?? 0, end)),
    );
  for (let at = 1; at < bytes.length; at++) {
    assertEquals(await Array.fromAsync(eventsOf(cut(at))), [{ a: "é" }, { b: 2 }], `${at}`);
  }
  const lost = ReadableStream.from([bytes.slice(0, 40)]);
  const words = await Array.fromAsync(eventsOf(lost)).catch((error) => error.message);
  assertEquals(words, "The connection to the server was lost");
});
