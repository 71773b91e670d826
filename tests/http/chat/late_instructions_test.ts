import { assert, assertEquals } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import { withoutLateSystem } from "../../../src/http/chat/late_instructions.ts";
import type { ChatMessage } from "../../../src/http/text_port.ts";
import { FakeText } from "../fake_text.ts";
import { testServer } from "../server.ts";

const say = (role: ChatMessage["role"], content: string): ChatMessage => ({ role, content });

/** A template that takes a system message at the front alone, as Gemma's and Mistral's do. */
class StrictText extends FakeText {
  accepted: readonly ChatMessage[] = [];
  override encodeChat(messages: readonly ChatMessage[]) {
    if (messages.slice(1).some(({ role }) => role === "system")) {
      const code = "chat_template_raised";
      return Promise.reject(new RequestError("It refuses", { code, param: "messages" }));
    }
    this.accepted = messages;
    return super.encodeChat(messages);
  }
}

Deno.test("withoutLateSystem() leaves the front as it is, and turns of the user in one", () => {
  const call = { id: "c", type: "function", function: { name: "f", arguments: {} } } as const;
  assertEquals(withoutLateSystem([say("system", "S"), say("user", "a")]), undefined);
  assertEquals(withoutLateSystem([say("system", "S")]), undefined);
  assertEquals(
    withoutLateSystem([
      ...[say("system", "S"), say("user", "a"), say("system", "b"), say("user", "c")],
      { ...say("assistant", "d"), tool_calls: [call] },
      { ...say("tool", "e"), tool_call_id: "c" },
      ...[say("system", "f"), say("assistant", "g")],
    ]),
    [
      say("system", "S"),
      say("user", "a\n\nb\n\nc"),
      { ...say("assistant", "d"), tool_calls: [call] },
      { ...say("tool", "e"), tool_call_id: "c" },
      ...[say("user", "f"), say("assistant", "g")],
    ],
  );
});

Deno.test("a template that refuses late system messages gets them from agents all the same", async () => {
  const text = new StrictText();
  const server = testServer({ text });
  const late = [say("user", "a"), say("system", "b")];
  const messages = { model: "alias", max_tokens: 9, system: "S", messages: late };
  const input = [say("user", "a"), { role: "developer", content: "b" }];
  for (
    const [path, body] of [["/v1/messages", messages], ["/v1/responses", {
      ...{ instructions: "S", input },
    }]] as const
  ) {
    text.accepted = [];
    const response = await server.post(path, body);
    assertEquals(response.status, 200, await response.text());
    assertEquals(text.accepted, [say("system", "S"), say("user", "a\n\nb")]);
  }
  // A chat is the client's own words to the template, and so is its refusal.
  const chat = await server.post("/v1/chat/completions", { messages: late });
  assertEquals(chat.status, 400);
  assert((await chat.text()).includes("It refuses"));
});
