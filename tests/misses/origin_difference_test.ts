import { assertEquals } from "@std/assert";
import type { OriginMessage, PromptOrigin } from "../../src/core/prompt_origin.ts";
import { originDifferences } from "../../src/misses/origin_difference.ts";

const SYSTEM: OriginMessage = { role: "system", content: "Be kind" };
const [ASK, REPLY, GO_ON] = [["user", "Why?"], ["assistant", "So"], ["user", "And?"]]
  .map(([role, content]): OriginMessage => ({ role: role!, content: content! })) as [
    ...[OriginMessage, OriginMessage, OriginMessage],
  ];

function origin(messages: readonly OriginMessage[], more: Partial<PromptOrigin> = {}) {
  return { messages, variables: {}, numChars: 0, ...more };
}

function tool(name: string, description = "does", order: "usual" | "other" = "usual") {
  const called = order === "usual" ? { name, description } : { description, name };
  return { type: "function", function: called };
}

/** Causes and places, such as `message_edited messages.1.content`. */
function told(old: PromptOrigin, now: PromptOrigin): string[] {
  return originDifferences(old, now).map(({ cause, part: { message, field } }) =>
    `${cause} ${message === undefined ? "" : `messages.${message}.`}${field}`
  );
}

Deno.test("originDifferences() finds none in a conversation that goes on", () => {
  const old = origin([SYSTEM, ASK], { tools: [tool("a")] });
  assertEquals(told(old, old), []);
  assertEquals(told(old, origin([SYSTEM, ASK, REPLY, GO_ON], { tools: [tool("a")] })), []);
  // What was begun for the model goes on.
  const begun = { ...REPLY, content: "S" };
  assertEquals(told(origin([ASK, begun]), origin([ASK, REPLY, GO_ON])), []);
});

Deno.test("originDifferences() names messages that were edited, left out or put in", () => {
  const old = origin([SYSTEM, ASK, REPLY, GO_ON]);
  const now = (...messages: OriginMessage[]) => told(old, origin(messages));
  const edited = { ...ASK, content: "Why not?" };
  assertEquals(now(SYSTEM, edited, REPLY, GO_ON), ["message_edited messages.1.content"]);
  assertEquals(now(SYSTEM, GO_ON), ["messages_dropped messages.1.content"]);
  assertEquals(now(ASK, REPLY, GO_ON), ["messages_dropped messages.0.content"]);
  const more = { ...ASK, content: "Some context" };
  assertEquals(now(SYSTEM, more, ASK, REPLY, GO_ON), ["message_inserted messages.1.content"]);
  const other = { ...SYSTEM, content: "Be terse" };
  assertEquals(now(other, ASK, REPLY, GO_ON), ["system_prompt messages.0.content"]);
  const named = { ...ASK, name: "Ada" };
  assertEquals(now(SYSTEM, named, REPLY, GO_ON), ["message_edited messages.1.name"]);
});

Deno.test("originDifferences() names thoughts that were left out", () => {
  const thought = { ...REPLY, reasoning_content: "Hm" };
  assertEquals(
    told(origin([ASK, thought, GO_ON]), origin([ASK, REPLY, GO_ON])),
    ["thinking_stripped messages.1.reasoning_content"],
  );
});

Deno.test("originDifferences() tells the order of tools from other tools", () => {
  const old = origin([ASK], { tools: [tool("a"), tool("b")] });
  const now = (...tools: unknown[]) => told(old, origin([ASK], { tools }));
  assertEquals(now(tool("b"), tool("a")), ["tool_order tools.0"]);
  assertEquals(now(tool("a"), tool("b", "does", "other")), ["tool_order tools.1"]);
  assertEquals(now(tool("a"), tool("b", "is")), ["tool_schema tools.1.function.description"]);
  assertEquals(now(tool("a")), ["tool_schema tools.1"]);
  assertEquals(now(tool("a"), tool("b"), tool("c")), ["tool_schema tools.2"]);
  assertEquals(told(old, origin([ASK])), ["tool_schema tools.0"]);
});

Deno.test("originDifferences() names variables of the template", () => {
  const old = origin([ASK], { variables: { thinking: true } });
  assertEquals(told(old, origin([ASK])), ["template chat_template_kwargs.thinking"]);
});
