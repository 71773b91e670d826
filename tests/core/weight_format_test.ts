import { assertEquals } from "@std/assert";
import {
  isQuantized,
  matrixBytes,
  matrixFormat,
  type Quantization,
  quantizedDtype,
  quantizedFormat,
  quantizedLayout,
  type WeightDtype,
} from "../../src/core/weight_format.ts";

Deno.test("matrixBytes() counts codes and scales: 4.125 to 8.5 bits per weight", () => {
  const bits = (dtype: WeightDtype) => matrixBytes(dtype, 4096, 4096) * 8 / 4096 ** 2;
  assertEquals(
    (["f32", "f16", "bf16", "int8g32", "int8g128", "int4g32", "int4g128"] as const).map(bits),
    [32, 16, 16, 8.5, 8.125, 4.5, 4.125],
  );
  // As in a GGUF file.
  assertEquals((["q4_k", "q6_k"] as const).map(bits), [4.5, 6.5625]);
});

Deno.test("quantizedLayout() begins every row of codes and of scales at a word", () => {
  // 36 codes of 4 bits are 4.5 words; two groups' scales are one word.
  assertEquals(quantizedLayout("int4g32", 3, 36), {
    rowWords: 5,
    scaleRowWords: 1,
    scaleWord: 15,
    words: 18,
  });
  // Five groups, the last short: two and a half words.
  assertEquals(quantizedLayout("int8g128", 2, 516), {
    rowWords: 129,
    scaleRowWords: 3,
    scaleWord: 258,
    words: 264,
  });
  // Three blocks: 96 words of low halves and 48 of upper pairs; 12 words of scales, three units.
  assertEquals(quantizedLayout("q6_k", 2, 768), {
    rowWords: 144,
    scaleRowWords: 14,
    scaleWord: 288,
    words: 316,
  });
});

Deno.test("matrixFormat() gives int4 minima where rows are whole groups, and the vocabulary its own", () => {
  const plain = { method: "int4", groupSize: 32 } as const;
  const of = (how: Partial<Quantization>, columns: number, isVocabulary = false) =>
    matrixFormat({ ...plain, ...how }, { columns, isVocabulary });
  assertEquals([of({}, 96), of({}, 96, true)], ["int4g32", "int4g32"]);
  assertEquals([of({ hasMinima: true }, 96), of({ hasMinima: true }, 100)], ["q4_k", "int4g32"]);
  assertEquals(of({ hasMinima: true, groupSize: 128 }, 256), "int4g128");
  assertEquals(of({ hasMinima: true, vocabulary: "int8" }, 256, true), "int8g32");
  assertEquals(of({ hasMinima: true }, 256, true), "q4_k");
  assertEquals(of({ method: "int8", hasMinima: true }, 256), "int8g32");
});

Deno.test("quantizedFormat() reads what quantizedDtype() names", () => {
  const dtype = quantizedDtype({ method: "int4", groupSize: 128 });
  assertEquals(dtype, "int4g128");
  assertEquals(quantizedFormat(dtype), { bits: 4, groupSize: 128 });
  assertEquals(quantizedFormat("int8g32"), { bits: 8, groupSize: 32 });
  assertEquals([isQuantized(dtype), isQuantized("bf16")], [true, false]);
});
