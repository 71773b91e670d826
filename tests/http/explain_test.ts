import { assert, assertEquals } from "@std/assert";
import { ExplainedPrompt, Explanation } from "../support/explain_format.ts";
import { ModelledCacheEngine } from "../support/modelled_cache_engine.ts";
import { CHAT_APIS, explained } from "../support/chat_caller.ts";
import { bytesOf } from "./fake_engine.ts";
import { FakeText } from "./fake_text.ts";
import { testServer } from "./server.ts";

const SYSTEM = "The fox is told at 10:15 to be patient with everybody who asks";
const TALK = { system: SYSTEM, messages: [{ role: "user", content: "Who are you, and why?" }] };
const LATER = {
  system: SYSTEM.replace("10:15", "10:16"),
  messages: [
    ...TALK.messages,
    { role: "assistant", content: "Hello" },
    { role: "user", content: "And now?" },
  ],
};

/** A server whose engine finds what earlier prompts and answers begin with. */
function cachingServer(changes: Parameters<typeof testServer>[0] = {}) {
  const engine = new ModelledCacheEngine(new FakeText().vocabSize);
  return { server: testServer({ engine, ...changes }), engine };
}

Deno.test("explain names why a prompt missed, in every API for chats", async () => {
  for (const api of CHAT_APIS) {
    const { server } = cachingServer();
    assertEquals((await explained(server, TALK, api)).cause, "new_conversation", api);
    const { cause, divergence, text } = await explained(server, LATER, api);
    assertEquals([cause, divergence?.message, divergence?.field], ["clock", 0, "content"], api);
    assert(divergence!.old.startsWith("5 to be"), divergence!.old);
    assert(divergence!.new.startsWith("6 to be"), divergence!.new);
    assert(!text.includes("fox"), "the sentence repeats no text");
    const log = JSON.stringify(server.log);
    assert(log.includes('"cache_miss":"clock"') && !log.includes("fox"), log);
  }
});

Deno.test("explain says of each prompt of a completion what it found", async () => {
  const { server } = cachingServer();
  const start = "Once upon a time there was a fox of many words";
  const ask = async (body: object) => {
    const response = await server.post("/v1/completions", { explain: true, n: 2, ...body });
    return Explanation.parse((await response.json()).quire).prompts;
  };
  const first = await ask({ prompt: [`${start}, and a hen`, "Hi"] });
  assertEquals(first.map(({ index, cause }) => [index, cause]), [
    [0, "new_conversation"],
    [1, "too_short"],
  ]);
  const [second] = await ask({ prompt: `${start}, and a fox` });
  assertEquals([second!.cause, second!.cached_tokens], [null, 48], "it differs in the last block");
  const [third] = await ask({ prompt: `Once upon a time there is a fox of many words, and a hen` });
  assertEquals([third!.cause, third!.divergence?.position], ["message_edited", 24]);
  const raw = await server.post("/api/generate", {
    ...{ model: "quire/test", raw: true, stream: false, explain: true },
    prompt: `${start}. The end comes soon, said the fox`,
  });
  const { quire: { prompts } } = await raw.json();
  assertEquals(ExplainedPrompt.parse(prompts[0]).divergence?.position, 47);
});

Deno.test("explain compares no prompts of two keys, and is silent where nobody asks", async () => {
  const access = { apiKeys: ["one", "two"], adminKeys: [], hostname: "127.0.0.1" };
  const { server } = cachingServer({ access });
  const as = (key: string) => ({ authorization: `Bearer ${key}` });
  await explained(server, TALK, "chat", as("one"));
  const other = await explained(server, LATER, "chat", as("two"));
  assertEquals([other.cause, other.divergence], ["new_conversation", undefined]);
  const own = await explained(server, LATER, "chat", as("one"));
  assertEquals(own.cause, "clock");
  const salted = await explained(server, { ...LATER, salt: "s" }, "chat", as("one"));
  assertEquals([salted.cause, salted.divergence], ["cache_scope", undefined]);
  const plain = await server.post("/v1/chat/completions", { messages: TALK.messages }, as("one"));
  assertEquals("quire" in await plain.json(), false);
});

Deno.test("explain knows an answer that a stop string has ended, and one that was cut", async () => {
  const { server, engine } = cachingServer();
  const said = "Hello you, and you over there, and all of you";
  engine.script = () => bytesOf(said);
  const stop = { fields: { stop: "STOP", max_tokens: 40 } };
  await explained(server, { ...TALK, ...stop });
  const changed = { role: "assistant", content: said.slice(0, 20).replace("you", "him") };
  const messages = [...TALK.messages, changed, { role: "user", content: "And now, what next?" }];
  const { cause, divergence } = await explained(server, { ...TALK, ...stop, messages });
  assertEquals([cause, divergence?.message, divergence?.field], ["answer_changed", 2, "content"]);
  assert(divergence!.old.startsWith("you"), divergence!.old);
});
