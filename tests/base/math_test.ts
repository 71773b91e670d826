import { assertEquals } from "@std/assert";
import { alignDown, alignUp, ceilDiv, largestThat } from "../../src/base/math.ts";

Deno.test("ceilDiv(), alignUp() and alignDown() agree at and around multiples", () => {
  assertEquals([0, 1, 15, 16, 17, 32].map((value) => ceilDiv(value, 16)), [0, 1, 1, 1, 2, 2]);
  assertEquals([0, 1, 15, 16, 17, 32].map((value) => alignUp(value, 16)), [0, 16, 16, 16, 32, 32]);
  assertEquals([0, 1, 15, 16, 17, 32].map((value) => alignDown(value, 16)), [0, 0, 0, 16, 16, 32]);
});

Deno.test("largestThat() finds where a condition ends, and asks about no more than it must", () => {
  for (let limit = 0; limit <= 33; limit++) {
    for (let last = 0; last <= 34; last++) {
      const asked: number[] = [];
      const found = largestThat(limit, (value) => {
        asked.push(value);
        return value <= last;
      });
      assertEquals(found, Math.min(limit, last));
      assertEquals(asked.every((value) => value >= 1 && value <= limit), true);
      assertEquals(asked.length <= Math.ceil(Math.log2(limit + 1)), true);
    }
  }
});
