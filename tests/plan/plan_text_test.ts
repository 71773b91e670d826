import { assertEquals, assertStringIncludes } from "@std/assert";
import { planKv } from "../../src/plan/kv_plan.ts";
import type { ModelShape } from "../../src/plan/model_shape.ts";
import { planText, table } from "../../src/plan/plan_text.ts";
import { presetShape } from "../../src/server/model_shape.ts";

const OPTIONS = { memoryBytes: 8 * 2 ** 30, blockSize: 16, maxNumBatchedTokens: 512, traffic: [] };

Deno.test("planText() says for what it plans and what fits, in aligned columns", () => {
  assertEquals(planText(planKv(presetShape("llama-2-7b")!, OPTIONS)).split("\n").slice(0, 13), [
    "Model    llama-2-7b, 32 layers, at most 4,096 tokens per sequence",
    "Weights  12.6 GiB in f16, 6.67 GiB in int8, 3.65 GiB in int4",
    "Matrices up to 250 MiB in f16, 132.8 MiB in int8, 132.8 MiB in int4; cut where a device binds less",
    "Layers   32 full attention, KV heads 32 x 128: 16 KiB per token and layer, 512 KiB per token (f16)",
    "Memory   8 GiB for KV, in blocks of 16 tokens",
    "",
    "KV dtype  per token  blocks  tokens  longest  layer buffer",
    "f16         512 KiB   1,024  16,384    4,096       256 MiB",
    "f32           1 MiB     512   8,192    4,096       256 MiB",
    "int8        264 KiB   1,985  31,760    4,096     255.9 MiB",
    "fp8         264 KiB   1,985  31,760    4,096     255.9 MiB",
    "int4*     159.5 KiB   3,287  52,592    4,096     821.8 MiB",
    "* first and last layer in f16",
  ]);
});

Deno.test("planText() shows at most six lengths, the longest among them", () => {
  const text = planText(planKv(presetShape("llama-3.1-8b")!, OPTIONS));
  assertStringIncludes(text, "KV dtype  512  1,024  2,048  4,096  8,192  131,072\n");
  assertStringIncludes(text, "\nf16       128     64     32     16      8        0\n");
});

Deno.test("planText() shows each group, and what windows leave unread", () => {
  const heads = { numKvHeads: 1, headDim: 64 };
  const shape: ModelShape = {
    name: "hybrid",
    maxModelLen: 8192,
    caches: [
      { kind: "full", ...heads },
      { kind: "sliding_window", window: 4096, ...heads },
    ],
  };
  const text = planText(planKv(shape, OPTIONS));
  assertStringIncludes(text, "Layers   1 full attention, KV heads 1 x 64: 256 B");
  assertStringIncludes(text, "Layers   1 sliding window of 4,096, KV heads");
  assertStringIncludes(text, "Windows  leave 25.0 % of 8,192 tokens unread, not kept");
});

Deno.test("planText() shows allocators for each traffic, and what is left out", () => {
  const traffic = [
    { name: "mine", requests: [[10, 20], [4000, 97]].map(toLengths) },
    { name: "long", requests: [toLengths([4000, 97])] },
  ];
  const text = planText(planKv(presetShape("llama-2-7b")!, { ...OPTIONS, traffic }));
  assertStringIncludes(
    text,
    "mine (requests 1, mean prompt 10, mean output 20, f16; longer, left out: 1):\n",
  );
  assertStringIncludes(text, "contiguous, longest length   0.5 %         4096          4\n");
  assertStringIncludes(text, "long: no request fits into 4,096 tokens");
});

Deno.test("table() sets the first column to the left and the others to the right", () => {
  assertEquals(table([["a", "long"], ["word", "1"]]), "a     long\nword     1");
});

function toLengths([promptLen = 0, outputLen = 0]: number[]) {
  return { promptLen, outputLen };
}
