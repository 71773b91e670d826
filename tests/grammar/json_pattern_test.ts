import { assert, assertEquals, assertThrows } from "@std/assert";
import { PatternError, patternInJson } from "../../src/grammar/json_pattern.ts";

/** Texts that a pattern might let through. */
const TEXTS = [
  "a",
  "Z",
  "7",
  "_",
  " ",
  "-",
  ".",
  "\t",
  "\n",
  '"',
  "\\",
  "\u0001",
  "é",
  "a1",
  "ab",
  "",
];

Deno.test("patternInJson() matches a part of what the pattern matches, and nothing that JSON escapes", () => {
  const patterns = [
    ...["^a$", "a?", "[a-z0-9]", "[^a]", ".", "\\d", "\\w+", "\\s", "\\S", "\\D", "\\W", "[\\d_]"],
    ...["[^\\s]", "(a|b)*", "(?:a1)?", "\\.", "[\\-.]", ".{0,2}", "[^\\w]", "[a-zA-Z]"],
  ];
  for (const pattern of patterns) {
    const narrowed = new RegExp(`^(?:${patternInJson(pattern)})$`);
    const given = new RegExp(`^(?:${pattern})$`);
    let numMatches = 0;
    for (const text of TEXTS) {
      if (!narrowed.test(text)) continue;
      numMatches++;
      assert(given.test(text), `${JSON.stringify(text)} by ${narrowed} of ${given}`);
      assertEquals(JSON.stringify(text), `"${text}"`);
    }
    assert(numMatches > 0, pattern);
  }
});

Deno.test("patternInJson() refuses what a grammar cannot hold, or JSON would escape", () => {
  const refused: [string, string][] = [
    ["(?=a)b", "(?"],
    ["(?<name>a)", "(?"],
    ["(a)\\1", "\\1"],
    ["\\bword", "\\b"],
    ['say "hi"', "quote"],
    ["a\\\\b", "it has"],
    ["[a", "no ]"],
    ["[ -~]", "JSON escapes"],
    ["[\\S]", "in a class"],
    ["\\n", "it has"],
  ];
  for (const [pattern, reason] of refused) {
    assertThrows(() => patternInJson(pattern), PatternError, reason);
  }
});
