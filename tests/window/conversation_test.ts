import { assert, assertEquals, assertThrows } from "@std/assert";
import * as fc from "fast-check";
import {
  type Conversation,
  matches,
  type Message,
  newConversation,
  pathOf,
  type Role,
  showBranch,
  siblingsOf,
  titleOf,
  withChange,
  withMessage,
} from "../../src/window/page/conversation.ts";
import { fromFile, toFile } from "../../src/window/page/conversation_file.ts";

function message(id: string, parent: string | null, role: Role, content = id): Message {
  return { id, parent, role, content, status: "done" };
}

function conversationOf(...messages: Message[]): Conversation {
  return messages.reduce(withMessage, newConversation());
}

const BRANCHED = conversationOf(
  message("q1", null, "user", "Tell me of foxes"),
  message("a1", "q1", "assistant"),
  message("a2", "q1", "assistant"),
  message("q2", "a2", "user"),
);

Deno.test("the path leads from the beginning to the head, and versions stand beside each other", () => {
  assertEquals(pathOf(BRANCHED).map(({ id }) => id), ["q1", "a2", "q2"]);
  const versions = siblingsOf(BRANCHED, BRANCHED.messages[1]!).map(({ id }) => id);
  assertEquals(versions, ["a1", "a2"]);
  assertEquals(BRANCHED.title, "Tell me of foxes");
});

Deno.test("a version is shown with what follows it, to the latest end", () => {
  const first = showBranch(BRANCHED, "a1");
  assertEquals(first.head, "a1");
  assertEquals(showBranch(first, "a2").head, "q2");
  assertEquals(showBranch(first, "q1").head, "q2");
});

Deno.test("a change is one message's, and a search finds all words in any case", () => {
  const changed = withChange(BRANCHED, "a1", { content: "A LANTERN" });
  assertEquals(changed.messages.map(({ content }) => content)[1], "A LANTERN");
  assertEquals(changed.messages[2], BRANCHED.messages[2]);
  assert(matches(changed, " lantern FOXES ") && matches(changed, ""));
  assert(!matches(changed, "lantern boat"));
});

Deno.test("a title is one short line", () => {
  assertEquals(titleOf("  a\n\n b "), "a b");
  assertEquals(titleOf("x".repeat(100)).length, 60);
});

Deno.test("what is exported is imported alike, under names of its own", () => {
  const arbitrary = fc.array(
    fc.record({ parent: fc.nat(), isUser: fc.boolean(), content: fc.string() }),
    { minLength: 1, maxLength: 20 },
  );
  fc.assert(fc.property(arbitrary, (drawn) => {
    const messages = drawn.map(({ parent, isUser, content }, i) => {
      const before = parent % (i + 1);
      const follows = before === 0 ? null : String(before - 1);
      return message(String(i), follows, isUser ? "user" : "assistant", content);
    });
    const settings = { temperature: 0.5, stop: "a\nb", thinking: false, format: "json" } as const;
    const kept = { ...conversationOf(...messages), settings };
    const [read] = fromFile(toFile([kept]));
    assert(read!.id !== kept.id);
    assertEquals({ ...read, id: kept.id }, { ...kept, title: titleOf(kept.title) });
  }));
});

Deno.test("a file that is something else is refused in a sentence", () => {
  const file = (messages: unknown) =>
    JSON.stringify({ format: "quire.conversations.v1", conversations: [{ messages }] });
  for (
    const [text, words] of [
      ["{", "not JSON"],
      ["null", "no conversations"],
      ['{"format":"other","conversations":[]}', "no conversations"],
      [file(1), "Conversation 1 has no list"],
      [file([{ id: 1 }]), "Message 1 of 1 is none"],
      [file([message("a", "b", "user"), message("b", "a", "user")]), "without its past"],
      [file([message("a", "a", "user")]), "without its past"],
    ] as const
  ) {
    assertThrows(() => fromFile(text), Error, words);
  }
  const odd = { temperature: "hot", top_p: Infinity, schema: 1, format: "xml", __proto__: {} };
  const text = JSON.stringify({
    format: "quire.conversations.v1",
    conversations: [{ messages: [], settings: odd, title: 7, head: "nowhere" }],
  });
  const [{ settings, title, head }] = fromFile(text) as [Conversation];
  assertEquals({ settings, title, head }, { settings: {}, title: "", head: null });
});
