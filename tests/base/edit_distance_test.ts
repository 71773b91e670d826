import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { editDistance, nearestName } from "../../src/base/edit_distance.ts";

Deno.test("editDistance() counts insertions, deletions and substitutions", () => {
  assertEquals(editDistance("kitten", "sitting"), 3);
  assertEquals(editDistance("", "abc"), 3);
  assertEquals(editDistance("abc", ""), 3);
  assertEquals(editDistance("port", "port"), 0);
});

/** The textbook recursion, slow and plainly right. */
function distanceByDefinition(a: string, b: string): number {
  if (a === "" || b === "") return a.length + b.length;
  if (a.at(-1) === b.at(-1)) return distanceByDefinition(a.slice(0, -1), b.slice(0, -1));
  return 1 + Math.min(
    distanceByDefinition(a.slice(0, -1), b),
    distanceByDefinition(a, b.slice(0, -1)),
    distanceByDefinition(a.slice(0, -1), b.slice(0, -1)),
  );
}

Deno.test("editDistance() agrees with the recursive definition", () => {
  const word = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 5 });
  fc.assert(
    fc.property(word, word, (a, b) => editDistance(a, b) === distanceByDefinition(a, b)),
    { seed: 11 },
  );
});

Deno.test("nearestName() finds the name meant and stays silent when none is near", () => {
  const names = ["max-model-len", "max-num-seqs", "port"];
  assertEquals(nearestName("max-model-length", names), "max-model-len");
  assertEquals(nearestName("prot", names), "port");
  assertEquals(nearestName("zzzz", names), undefined);
  assertEquals(nearestName("x", []), undefined);
});
