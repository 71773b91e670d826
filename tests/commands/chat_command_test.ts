import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Chat } from "../../src/commands/chat_command.ts";
import { Conversation } from "../../src/commands/conversation.ts";
import { createStyle } from "../../src/terminal/style.ts";
import { FakeOpenAi } from "../support/fake_openai.ts";

/** A chat over a fake server, whose answers say how many messages there were. */
function rig(answer: FakeOpenAi["answer"] = ({ body }) => ({
  pieces: ["I see ", String(body.messages.length)],
  usage: { prompt_tokens: 20, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 16 } },
}), explains = false) {
  const server = new FakeOpenAi(answer);
  const conversation = new Conversation({ fields: {} });
  const files = new Map<string, string>();
  const shown = { text: "" };
  const reader = { read: () => Promise.resolve(undefined), onInterrupt: () => {}, close: () => {} };
  const chat = new Chat({
    client: server.client,
    model: "m",
    explains,
    conversation,
    reader,
    write: (text) => void (shown.text += text),
    style: createStyle(false),
    files: {
      read: (path) => files.get(path) ?? "",
      write: (path, text) => void files.set(path, text),
    },
  });
  const say = async (line: string) => {
    shown.text = "";
    await chat.take(line);
    return shown.text;
  };
  return { server, conversation, files, reader, say, shown };
}

Deno.test("a message is answered with everything said before it, and figures below", async () => {
  const { say, server } = rig();
  const first = await say("Hello");
  assertEquals(first.split("\n")[0], "I see 1");
  assertStringIncludes(first, "[4 tokens, ");
  assertStringIncludes(first, "prompt of 20, 16 cached]");
  assertEquals((await say("//more")).split("\n")[0], "I see 3");
  assertEquals(server.requests[1]!.body.messages.at(-1).content, "/more");
  assertEquals(await say("  "), "");
});

Deno.test("slash commands change what the next answer sees", async () => {
  const { say, server, conversation, files } = rig();
  assertStringIncludes(await say("/system Be kind"), "Instructions: Be kind");
  assertStringIncludes(await say("/set temperature 0.2"), "temperature 0.2");
  await say("Hello");
  const { messages, temperature } = server.requests[0]!.body;
  assertEquals([messages[0], temperature], [{ role: "system", content: "Be kind" }, 0.2]);
  await say("/retry");
  assertEquals(server.requests[1]!.body.messages.length, 2);
  assertStringIncludes(await say("/save c.json"), "2 messages are in c.json");
  assertStringIncludes(await say("/undo"), "Undone: Hello");
  assertEquals(conversation.length, 0);
  assertStringIncludes(await say("/load c.json"), "2 messages of c.json");
  assertEquals(conversation.length, 2);
  assertEquals(files.size, 1);
  await say("/clear");
  assertEquals([conversation.length, conversation.system], [0, "Be kind"]);
  assertStringIncludes(await say("/system off"), "No instructions");
  assertStringIncludes(await say("/undo"), "nothing to undo");
  assertStringIncludes(await say("/retry"), "no question");
  assertStringIncludes(await say("/help"), "/save FILE");
});

Deno.test("a mistake is one line, and the chat goes on", async () => {
  const { say, conversation } = rig(() => ({
    refusal: [400, '{"error": {"message": "too long"}}'],
  }));
  assertStringIncludes(await say("/sytem x"), "did you mean /system?");
  assertStringIncludes(await say("/set temperature hot"), "error: temperature must be a number");
  assertStringIncludes(await say("/save"), "needs the name of a file");
  assertStringIncludes(await say("/load none.json"), "no saved conversation");
  assertStringIncludes(await say("Hello"), "answered 400: too long");
  // The question that was refused is not asked again with the next one.
  assertEquals(conversation.length, 0);
});

Deno.test("/why shows what a server of Quire's explains, and others are not asked to", async () => {
  const { say, server } = rig();
  await say("Hello");
  assertEquals(server.requests[0]!.body.explain, undefined);
  assertStringIncludes(await say("/why"), "Nothing was explained");
  const quire = rig(() => ({ pieces: ["a"], explanation: "It found all there was." }), true);
  await quire.say("Hello");
  assertEquals(quire.server.requests[0]!.body.explain, true);
  assertEquals(await quire.say("/why"), "It found all there was.\n");
});

Deno.test("what came before an error is kept as the answer", async () => {
  const { say, conversation } = rig(() => ({ pieces: ["abc"], end: "error" }));
  assertStringIncludes(await say("Hello"), "error: The server broke off: the engine is gone");
  assertEquals(conversation.messages.map(({ content }) => content), ["Hello", "abc"]);
});

Deno.test("Ctrl-C stops an answer, what was written stays, and the chat goes on", async () => {
  const { say, reader, server, conversation, shown } = rig(() => ({
    pieces: ["abc"],
    end: "silence",
  }));
  const answer = say("Hello");
  while (!shown.text.includes("abc")) await new Promise((resolve) => setTimeout(resolve, 1));
  reader.onInterrupt();
  assertStringIncludes(await answer, "abc\n[stopped; ");
  assertEquals(conversation.messages.at(-1), { role: "assistant", content: "abc" });
  assertEquals(server.numCancelled, 1);
  reader.onInterrupt();
});

Deno.test("a question stopped before its first word counts as not asked", async () => {
  const { say, reader, conversation, server } = rig(() => ({ end: "silence" }));
  const answer = say("Hello");
  while (server.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  await new Promise((resolve) => setTimeout(resolve, 5));
  reader.onInterrupt();
  await answer;
  assertEquals(conversation.length, 0);
});

Deno.test("a model's control characters do not reach the terminal", async () => {
  const { say, conversation } = rig(() => ({
    pieces: ["a\x1b]0;title\x07b"],
    thinking: ["\x1b[2J"],
  }));
  const text = await say("Hello");
  assert(!text.includes("\x1b") && !text.includes("\x07"), JSON.stringify(text));
  assertEquals(conversation.messages.at(-1)?.content, "a\x1b]0;title\x07b");
});
