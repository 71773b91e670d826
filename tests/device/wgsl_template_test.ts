import { assertEquals, assertThrows } from "@std/assert";
import { expandWgsl } from "../../src/device/wgsl_template.ts";

Deno.test("expandWgsl substitutes expressions over constants", () => {
  assertEquals(
    expandWgsl("const N: u32 = ${K / 4}u; // ${KIND}", { K: 32, KIND: "f16" }),
    "const N: u32 = 8u; // f16",
  );
});

Deno.test("expandWgsl unrolls nested loops in order", () => {
  const template = "//# for i in 0..N\n//# for j in i..N\na${i}${j}\n//# end\n//# end\nz";
  assertEquals(expandWgsl(template, { N: 3 }), "a00\na01\na02\na11\na12\na22\nz");
  assertEquals(expandWgsl(template, { N: 0 }), "z");
});

Deno.test("expandWgsl keeps one branch and does not evaluate the other", () => {
  const template = '//# if T == "f16"\nhalf\n//# else\n//# if N > 1\nmany\n//# end\nfull\n//# end';
  assertEquals(expandWgsl(template, { T: "f16", N: 5 }), "half");
  assertEquals(expandWgsl(template, { T: "f32", N: 5 }), "many\nfull");
  assertEquals(expandWgsl(template, { T: "f32", N: 1 }), "full");
  assertEquals(expandWgsl("//# if false\n${missing}\n//# end", {}), "");
});

Deno.test("expandWgsl names the line of a mistake", () => {
  assertThrows(() => expandWgsl("a\n${missing}", {}), SyntaxError, "line 2");
  assertThrows(() => expandWgsl("a\n//# for i in 0..2\nb", {}), SyntaxError, "line 2");
  assertThrows(() => expandWgsl("a\nb\n//# end", {}), SyntaxError, "line 3");
  assertThrows(() => expandWgsl("//# for i of 3\n//# end", {}), SyntaxError, "line 1");
  assertThrows(() => expandWgsl("//# if N\n//# else\n", { N: 1 }), SyntaxError, "line 1");
});
