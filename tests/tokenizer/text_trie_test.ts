import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { TextTrie } from "../../src/tokenizer/text_trie.ts";
import { runs } from "../support/runs.ts";

Deno.test("TextTrie.split() finds the leftmost texts, the longest of each place", () => {
  const trie = new TextTrie(["<a>", "<a>>", "b", "🦙"]);
  assertEquals(trie.split("x<a>>b<a>y🦙"), ["x", "<a>>", "b", "<a>", "y", "🦙"]);
  assertEquals(trie.split(""), []);
  assertEquals(trie.split("<a"), ["<a"]);
  assertEquals(new TextTrie([]).split("abc"), ["abc"]);
});

Deno.test("TextTrie.mayGoOnAt() knows the beginning of a text at another's end", () => {
  const trie = new TextTrie(["<|end|>", "<|end|>>"]);
  assertEquals(
    ["x<", "x<|en", "x<|end|>", "x<|end|>>", "x<b"].map((text) => trie.mayGoOnAt(text, 1)),
    [true, true, true, false, false],
  );
});

Deno.test("TextTrie.split() loses nothing and splits as a regular expression does", () => {
  const texts = fc.array(fc.stringMatching(/^[ab<]{1,4}$/), { maxLength: 5 });
  fc.assert(
    fc.property(texts, fc.stringMatching(/^[ab<c]{0,30}$/), (texts, text) => {
      const pieces = new TextTrie(texts).split(text);
      assertEquals(pieces.join(""), text);
      if (texts.length === 0) return;
      const longestFirst = texts.toSorted((a, b) => b.length - a.length);
      const found = text.match(new RegExp(longestFirst.join("|"), "g")) ?? [];
      assertEquals(pieces.filter((piece) => texts.includes(piece)), [...found]);
    }),
    { seed: 5, numRuns: runs(300) },
  );
});
