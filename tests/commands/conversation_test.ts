import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { Conversation } from "../../src/commands/conversation.ts";
import { StartupError } from "../../src/core/errors.ts";

function refusal(work: () => unknown): string {
  return assertThrows(work, StartupError).message;
}

function talked(): Conversation {
  const conversation = new Conversation({ system: "Be kind", fields: { temperature: 0.5 } });
  conversation.ask("a");
  conversation.answer("A");
  conversation.ask("b");
  conversation.answer("B");
  return conversation;
}

Deno.test("a conversation puts its instructions first, and takes turns back", () => {
  const conversation = talked();
  assertEquals(conversation.messages.map(({ content }) => content), [
    "Be kind",
    "a",
    "A",
    "b",
    "B",
  ]);
  assertEquals(conversation.retry(), true);
  assertEquals(conversation.messages.at(-1), { role: "user", content: "b" });
  conversation.answer("B2");
  assertEquals([conversation.undo(), conversation.undo(), conversation.undo()], [
    "b",
    "a",
    undefined,
  ]);
  assertEquals([conversation.length, conversation.retry()], [0, false]);
});

Deno.test("set() holds settings to their bounds, and off takes one away", () => {
  const conversation = talked();
  conversation.set("top_k", "40");
  assertEquals(conversation.fields, { temperature: 0.5, top_k: 40 });
  conversation.set("temperature", "off");
  assertEquals(conversation.fields, { top_k: 40 });
  assertStringIncludes(refusal(() => conversation.set("temprature", "1")), "there are temperature");
  assertStringIncludes(
    refusal(() => conversation.set("temperature", "3")),
    'temperature must be a number from 0 to 2, or off, got "3"',
  );
  assertStringIncludes(refusal(() => conversation.set("top_k", "1.5")), "an integer");
  assertStringIncludes(refusal(() => conversation.set("seed", "")), 'got ""');
  assertStringIncludes(refusal(() => conversation.set("constructor", "1")), "There is no setting");
});

Deno.test("load() takes what toJson() wrote, and OpenAI's messages", () => {
  const conversation = new Conversation({ fields: {} });
  conversation.load(talked().toJson("m"));
  assertEquals(conversation.messages, talked().messages);
  assertEquals(conversation.fields, { temperature: 0.5 });
  conversation.load('[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]');
  assertEquals(conversation.messages.map(({ content }) => content), ["s", "u"]);
  assertEquals(conversation.fields, {});
});

Deno.test("load() refuses other texts, and the conversation stays as it is", () => {
  for (
    const text of [
      "{",
      "null",
      "{}",
      '{"messages": [{"role": "user"}]}',
      '[{"role": "tool", "content": ""}]',
      '{"messages": [], "settings": {"temperature": 9}}',
    ]
  ) {
    const conversation = talked();
    refusal(() => conversation.load(text));
    assertEquals([conversation.messages, conversation.fields], [
      talked().messages,
      talked().fields,
    ]);
  }
});
