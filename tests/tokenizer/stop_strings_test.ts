import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvariantError } from "../../src/base/invariant.ts";
import { StopStrings } from "../../src/tokenizer/stop_strings.ts";
import { runs } from "../support/runs.ts";

/** The same, said slowly: try every end, and for it every stop string, the longest first. */
function cutWhole(stops: readonly string[], text: string): { text: string; matched?: string } {
  const longestFirst = [...stops].sort((a, b) => b.length - a.length);
  for (let end = 0; end <= text.length; end++) {
    const matched = longestFirst.find((stop) => text.slice(0, end).endsWith(stop));
    if (matched !== undefined) return { text: text.slice(0, end - matched.length), matched };
  }
  return { text };
}

function cutInPieces(stops: readonly string[], pieces: readonly string[]) {
  const watch = new StopStrings(stops);
  let text = "";
  let matched: string | undefined;
  for (const piece of pieces) {
    const result = watch.push(piece);
    text += result.text;
    matched ??= result.matched;
  }
  text += watch.flush();
  return matched === undefined ? { text } : { text, matched };
}

Deno.test("StopStrings equals a search in the whole text, for any split", () => {
  const word = (min: number, max: number) =>
    fc.array(fc.constantFrom("a", "b", "c"), { minLength: min, maxLength: max })
      .map((letters) => letters.join(""));
  fc.assert(
    fc.property(
      fc.array(word(1, 5), { maxLength: 4 }),
      fc.array(word(0, 4), { maxLength: 10 }),
      (stops, pieces) => {
        assertEquals(cutInPieces(stops, pieces), cutWhole(stops, pieces.join("")));
      },
    ),
    { seed: 11, numRuns: runs(20_000) },
  );
});

Deno.test("StopStrings holds back no more than could begin a stop string", () => {
  const watch = new StopStrings(["\n\nUser:", "END"]);
  assertEquals(watch.push("Hi\n"), { text: "Hi" });
  assertEquals(watch.push("\nU"), { text: "" });
  assertEquals(watch.push("x"), { text: "\n\nUx" });
  assertEquals(watch.push("EN"), { text: "" });
  assertEquals(watch.push("EEN"), { text: "ENE" });
  assertEquals(watch.flush(), "EN");
});

Deno.test("StopStrings emits each character as soon as no stop string can begin there", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 20 }), (letters) => {
      const stop = "abcab";
      const watch = new StopStrings([stop]);
      let seen = "";
      let shown = "";
      for (const letter of letters) {
        seen += letter;
        const { text, matched } = watch.push(letter);
        shown += text;
        if (matched !== undefined) return;
        let held = Math.min(stop.length - 1, seen.length);
        while (!stop.startsWith(seen.slice(seen.length - held))) held--;
        assertEquals(shown, seen.slice(0, seen.length - held));
      }
    }),
    { seed: 2, numRuns: runs(3000) },
  );
});

Deno.test("StopStrings cuts before the stop string that is complete first", () => {
  assertEquals(new StopStrings(["abcd", "bc"]).push("xabcd"), { text: "xa", matched: "bc" });
  assertEquals(new StopStrings(["bc", "abc"]).push("xabc"), { text: "x", matched: "abc" });
});

Deno.test("StopStrings repeats its match and shows nothing more", () => {
  const watch = new StopStrings(["b"]);
  assertEquals(watch.push("abc"), { text: "a", matched: "b" });
  assertEquals(watch.push("d"), { text: "", matched: "b" });
  assertEquals(watch.flush(), "");
});

Deno.test("StopStrings without stop strings passes everything through", () => {
  const watch = new StopStrings([]);
  assertEquals(watch.push("any 🦙"), { text: "any 🦙" });
  assertEquals(watch.flush(), "");
});

Deno.test("StopStrings refuses an empty stop string", () => {
  assertThrows(() => new StopStrings(["a", ""]), InvariantError);
});
