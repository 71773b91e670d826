import { assertEquals, assertThrows } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import {
  ChatRequest,
  numChatLogprobs,
  toChatMessages,
  toEncodeChatOptions,
} from "../../../src/http/openai/chat_schema.ts";

function messagesOf(messages: unknown) {
  return toChatMessages(ChatRequest.parse({ messages }).messages, { names: ["gemma"] });
}

function fail(fn: () => unknown) {
  const { status, code, param } = assertThrows(fn, RequestError).data;
  return [status, code, param];
}

Deno.test("toChatMessages() reads texts, text parts, empty answers and developer as system", () => {
  assertEquals(
    messagesOf([
      { role: "developer", content: "be brief" },
      { role: "user", content: [{ type: "text", text: "a" }, { type: "text", text: "b" }] },
      { role: "assistant", content: null },
      { role: "assistant", content: "", tool_calls: [] },
    ]),
    [
      { role: "system", content: "be brief" },
      { role: "user", content: "a\nb" },
      { role: "assistant", content: "" },
      { role: "assistant", content: "" },
    ],
  );
});

Deno.test("toChatMessages() refuses what it would have to ignore, naming the place", () => {
  const unsupported: [object, string][] = [
    [{ role: "user", content: [{ type: "image_url" }] }, "messages.0.content.0.type"],
    [{ role: "function", content: "4" }, "messages.0.role"],
    [{ role: "assistant", content: null, function_call: {} }, "messages.0.function_call"],
  ];
  for (const [message, param] of unsupported) {
    assertEquals(fail(() => messagesOf([message])), [400, "unsupported_parameter", param]);
  }
  const missing: [object, string][] = [
    [{ role: "user", content: null }, "messages.0.content"],
    [{ role: "tool", tool_call_id: "a" }, "messages.0.content"],
    [{ role: "user", content: [{ type: "text" }] }, "messages.0.content.0.text"],
  ];
  for (const [message, param] of missing) {
    assertEquals(fail(() => messagesOf([message])), [400, "missing_required_parameter", param]);
  }
});

Deno.test("toEncodeChatOptions() opens the assistant's turn or continues it, not both", () => {
  const answered = [
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
  ] as const;
  const open = { addGenerationPrompt: true, continueFinalMessage: false };
  assertEquals(toEncodeChatOptions({}, answered), open);
  assertEquals(toEncodeChatOptions({ continue_final_message: true }, answered), {
    addGenerationPrompt: false,
    continueFinalMessage: true,
  });
  const both = { continue_final_message: true, add_generation_prompt: true };
  assertEquals(fail(() => toEncodeChatOptions(both, answered))[0], 400);
  const early = answered.slice(0, 1);
  assertEquals(fail(() => toEncodeChatOptions({ continue_final_message: true }, early))[0], 400);
});

Deno.test("numChatLogprobs() needs logprobs for top_logprobs", () => {
  const request = ChatRequest.parse({ messages: [{ role: "user", content: "a" }] });
  assertEquals(numChatLogprobs(request), undefined);
  assertEquals(numChatLogprobs({ ...request, logprobs: true }), 0);
  assertEquals(numChatLogprobs({ ...request, logprobs: true, top_logprobs: 3 }), 3);
  assertEquals(numChatLogprobs({ ...request, logprobs: false, top_logprobs: 0 }), undefined);
  assertEquals(fail(() => numChatLogprobs({ ...request, top_logprobs: 3 }))[2], "top_logprobs");
});

Deno.test("ChatRequest refuses an empty conversation and a bound exceeded", () => {
  assertEquals(ChatRequest.safeParse({ messages: [] }).success, false);
  assertEquals(ChatRequest.safeParse({}).success, false);
  const messages = [{ role: "user", content: "a" }];
  assertEquals(ChatRequest.safeParse({ messages, top_logprobs: 20 }).success, true);
  assertEquals(ChatRequest.safeParse({ messages, top_logprobs: 21 }).success, false);
});

Deno.test("toChatMessages() refuses an image by the model's name and the field's", () => {
  const image = { type: "image_url", image_url: { url: "data:image/png;base64,AA==" } };
  const content = [{ type: "text", text: "what is this?" }, image];
  const error = assertThrows(() => messagesOf([{ role: "user", content }]), RequestError);
  assertEquals(
    error.message,
    'messages.0.content.1.type is "image_url": the model gemma reads text alone',
  );
  assertEquals(error.data.param, "messages.0.content.1.type");
});
