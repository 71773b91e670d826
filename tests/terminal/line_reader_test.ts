import { assertEquals } from "@std/assert";
import { PasteJoiner, readMessage, withBreaks } from "../../src/terminal/line_reader.ts";

const PROMPTS = { first: "> ", more: ". " };

/** Reads one message of lines; tells the prompts too. */
async function message(...lines: string[]) {
  const prompts: string[] = [];
  const read = (prompt: string) => {
    prompts.push(prompt);
    return Promise.resolve(lines.shift());
  };
  return { text: await readMessage({ read }, PROMPTS), prompts: prompts.join("") };
}

Deno.test("readMessage() takes one line, and goes on behind a backslash", async () => {
  assertEquals(await message("hello", "not this"), { text: "hello", prompts: "> " });
  assertEquals(await message("a\\", "b \\", "c"), { text: "a\nb \nc", prompts: "> . . " });
  assertEquals((await message()).text, undefined);
  assertEquals((await message("a\\")).text, "a");
});

Deno.test('readMessage() takes everything between two """', async () => {
  assertEquals((await message('"""', "a", "", "b", '"""')).text, "a\n\nb");
  assertEquals((await message('"""a', 'b"""')).text, "a\nb");
  assertEquals((await message('"""a"""', "not this")).text, "a");
  assertEquals((await message('"""', "a")).text, "a");
});

Deno.test("PasteJoiner makes one line of a paste, wherever its chunks are cut", () => {
  const input = "x\x1b[200~one\r\ntwo\nthree\x1b[201~\ry\x1b[A";
  const expected = "xone\ntwo\nthree\ry\x1b[A";
  for (let cut = 0; cut <= input.length; cut++) {
    // A terminal writes an escape with what follows it, and a line's end as one.
    if (input[cut - 1] === "\x1b" || input.slice(cut - 1, cut + 1) === "\r\n") continue;
    const joiner = new PasteJoiner();
    const joined = joiner.push(input.slice(0, cut)) + joiner.push(input.slice(cut));
    assertEquals(withBreaks(joined), expected, `cut at ${cut}`);
    assertEquals(joined.includes("\n"), false);
  }
});

Deno.test("PasteJoiner holds no key back", () => {
  const joiner = new PasteJoiner();
  for (const key of ["\x1b", "\x03", "\r", "a"]) assertEquals(joiner.push(key), key);
});
