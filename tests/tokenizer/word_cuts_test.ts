import { assertEquals } from "@std/assert";
import { WordCuts } from "../../src/tokenizer/word_cuts.ts";

/** Joins a-b, b-c, ▁-a and 🦙-x, and no other two characters. */
const cuts = new WordCuts([["a", "b"], ["ab", "cd"], ["▁", "a"], ["y🦙", "x"]]);

Deno.test("WordCuts.parts() cuts between characters that no merge joins, not too often", () => {
  assertEquals(cuts.parts("▁abc▁abc▁ab"), ["▁abc", "▁abc", "▁ab"]);
  assertEquals(cuts.parts("zzzzzzzzzz"), ["zzzz", "zzzz", "zz"]);
  assertEquals(cuts.parts("abcabcab"), ["abcabc", "ab"]);
  assertEquals(cuts.parts("🦙x🦙x🦙x"), ["🦙x🦙x", "🦙x"]);
});

Deno.test("WordCuts.lastCut() finds the last exact place that is accepted", () => {
  const any = () => true;
  assertEquals(cuts.lastCut("▁ab▁ab", 0, any), 3);
  assertEquals(cuts.lastCut("▁ab▁ab", 4, any), undefined);
  assertEquals(cuts.lastCut("▁ab▁ab▁ab", 0, (place) => place < 6), 3);
  assertEquals(cuts.lastCut("🦙x", 0, any), undefined);
  assertEquals(cuts.lastCut("x🦙", 0, any), 1);
});
