import { assertEquals } from "@std/assert";
import { NO_WORK } from "../../kernels/step.ts";
import { likelyNext } from "../../src/runner/likely_next.ts";

Deno.test("likelyNext() is the same decodes, each one token further and without copies", () => {
  const dims = { ...NO_WORK, numTokens: 3, numDecodes: 3, numSamples: 3, numNextSplits: 7 };
  const next = { ...dims, numSplits: 7 };
  assertEquals(likelyNext({ ...dims, numSplits: 5, numCopies: 2 }), next);
});

Deno.test("likelyNext() foresees nothing after a prefill or a step of copies", () => {
  const dims = { ...NO_WORK, numTokens: 9, numDecodes: 1, numTiles: 1, numNextSplits: 1 };
  assertEquals(likelyNext(dims), undefined);
  assertEquals(likelyNext({ ...NO_WORK, numCopies: 2 }), undefined);
});
