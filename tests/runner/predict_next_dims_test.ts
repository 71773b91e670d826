import { assertEquals } from "@std/assert";
import { NO_WORK } from "../../kernels/step.ts";
import { predictNextDims } from "../../src/runner/predict_next_dims.ts";

Deno.test("predictNextDims() is the same decodes, as far further as the plan says and without copies", () => {
  const dims = { ...NO_WORK, numTokens: 3, numDecodes: 3, numDraws: 3, numNextSplits: [7, 2] };
  const next = { ...dims, numSplits: [7, 2], numCopies: [0, 0] };
  assertEquals(predictNextDims({ ...dims, numSplits: [5, 2], numCopies: [2, 1] }), next);
});

Deno.test("predictNextDims() foresees nothing after a prefill or a step of copies", () => {
  const dims = { ...NO_WORK, numTokens: 9, numDecodes: 1, numQueryTiles: 1, numNextSplits: [1] };
  assertEquals(predictNextDims(dims), undefined);
  assertEquals(predictNextDims({ ...NO_WORK, numCopies: [2] }), undefined);
});
