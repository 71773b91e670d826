import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { promptOf, readInput, runCommand } from "../../src/commands/run_command.ts";
import { StartupError } from "../../src/core/errors.ts";
import { type FakeAnswer, FakeOpenAi } from "../support/fake_openai.ts";

async function run(answer: FakeAnswer, isTerminal = false) {
  const server = new FakeOpenAi(() => answer);
  const out = { text: "", notes: [] as string[] };
  await runCommand({ client: server.client, model: "m" }, {
    prompt: "p",
    answer: { system: "s", fields: { max_tokens: 5 } },
  }, {
    write: (text) => void (out.text += text),
    note: (line) => void out.notes.push(line),
    isTerminal,
  });
  return { ...out, body: server.requests[0]!.body };
}

Deno.test("promptOf() joins the words, and puts what was piped in below", () => {
  assertEquals(promptOf({ words: ["Sum", "up:"] }, "text\n"), "Sum up:\n\ntext");
  assertEquals(promptOf({ words: [] }, "text\n"), "text");
  assertEquals(promptOf({ words: ["a"] }, ""), "a");
  assertThrows(() => promptOf({ words: [] }, "\n"), StartupError, "needs a prompt");
});

Deno.test("readInput() decodes characters that are cut, and refuses what is too long", async () => {
  const bytes = new TextEncoder().encode("é🦊");
  const stream = (...chunks: Uint8Array<ArrayBuffer>[]) => new Blob(chunks).stream();
  assertEquals(await readInput(ReadableStream.from([bytes.slice(0, 3), bytes.slice(3)])), "é🦊");
  const long = stream(new Uint8Array(16 * 2 ** 20 + 1));
  const { message } = await assertRejects(() => readInput(long), StartupError);
  assertStringIncludes(message, "limit of 16777216 bytes");
});

Deno.test("runCommand() writes the answer as it is to a pipe, and ends the line", async () => {
  const { text, notes, body } = await run({ pieces: ["a\x1b[1m", "b"] });
  assertEquals([text, notes], ["a\x1b[1mb\n", []]);
  assertEquals(body.messages, [{ role: "system", content: "s" }, { role: "user", content: "p" }]);
  assertEquals([body.model, body.max_tokens], ["m", 5]);
  assertEquals((await run({ pieces: ["a\n"] })).text, "a\n");
});

Deno.test("runCommand() shows a terminal visible text, and the figures", async () => {
  const usage = { prompt_tokens: 3, completion_tokens: 1 };
  const { text, notes } = await run({ pieces: ["a\x1b[1m"], usage }, true);
  assertEquals(text, "a[1m\n");
  assertStringIncludes(notes.join(), "1 tokens, first after ");
});
