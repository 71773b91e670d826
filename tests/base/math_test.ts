import { assertEquals } from "@std/assert";
import { alignDown, alignUp, ceilDiv } from "../../src/base/math.ts";

Deno.test("ceilDiv(), alignUp() and alignDown() agree at and around multiples", () => {
  assertEquals([0, 1, 15, 16, 17, 32].map((value) => ceilDiv(value, 16)), [0, 1, 1, 1, 2, 2]);
  assertEquals([0, 1, 15, 16, 17, 32].map((value) => alignUp(value, 16)), [0, 16, 16, 16, 32, 32]);
  assertEquals([0, 1, 15, 16, 17, 32].map((value) => alignDown(value, 16)), [0, 0, 0, 16, 16, 32]);
});
