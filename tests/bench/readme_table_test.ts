import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  findModelResult,
  type ModelResult,
  modelTable,
  replaceTable,
} from "../../bench/readme_table.ts";

const RESULT: ModelResult = {
  bench: "model",
  commit: "abc1234",
  device: "Some GPU, WebGPU",
  ceiling: { copyGBps: 2345.6, fmaGflops: 50_000, gemmGflops: 31_234.5 },
  shapes: [
    {
      name: "llama-3.1-8b",
      results: [
        {
          kind: "decode",
          batch: 8,
          context: 16_384,
          tokensPerSecond: 1234.56,
          stepMs: 6.4801,
          hostMs: 0.324,
          aheadMs: 0.1,
          ofCeiling: 0.755,
        },
        { kind: "decode", batch: 128, context: 16_384, skipped: "no room" },
      ],
    },
    { name: "qwen3-0.6b", skipped: "no room" },
  ],
};

Deno.test("modelTable() has one row per measured step and none for what was skipped", () => {
  assertEquals(modelTable(RESULT).split("\n"), [
    "Random weights, f16, on Some GPU, WebGPU, commit abc1234. The device copied 2,346 GB/s and " +
    "multiplied matrices at 31,235 GFLOP/s in that run.",
    "",
    "| model        | step   | batch | context | tokens/s | of ceiling | ms/step | host work |",
    "| ------------ | ------ | ----- | ------- | -------- | ---------- | ------- | --------- |",
    "| llama-3.1-8b | decode | 8     | 16,384  | 1,235    | 76 %       | 6.48    | 5.0 %     |",
  ]);
});

Deno.test("findModelResult() finds the result alone or among the parts of a host's run", () => {
  assertEquals(findModelResult(RESULT), RESULT);
  const demo = { bench: "demo", rows: {} };
  assertEquals(findModelResult({ parts: [{ result: demo }, {}, { result: RESULT }] }), RESULT);
  assertThrows(() => findModelResult({ parts: [{ result: demo }] }), TypeError, "bench:model");
});

Deno.test("replaceTable() changes what is between the markers and nothing else", () => {
  const text = "before\n<!-- bench:model -->\n\nold\n\n<!-- /bench:model -->\nafter\n";
  const once = replaceTable(text, "new");
  assertEquals(once, text.replace("old", "new"));
  assertEquals(replaceTable(once, "old"), text);
});

Deno.test("replaceTable() refuses a text whose markers are missing, doubled or swapped", () => {
  const [begin, end] = ["<!-- bench:model -->", "<!-- /bench:model -->"];
  for (const text of ["", begin, end, `${end}${begin}`, `${begin}${end}${begin}${end}`]) {
    assertThrows(() => replaceTable(text, "new"), RangeError, "once each");
  }
});

Deno.test("bench/README.md has the markers", async () => {
  const readme = await Deno.readTextFile(new URL("../../bench/README.md", import.meta.url));
  assertStringIncludes(replaceTable(readme, "a table of this test"), "\na table of this test\n");
});
