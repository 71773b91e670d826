import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { withThousands } from "../../src/base/thousands.ts";

Deno.test("withThousands() writes whole numbers as English does", () => {
  for (const value of [0, 7, 999, 1000, 65_536, 100_000, 999_999, 1_000_000, 1_234_567_890]) {
    assertEquals(withThousands(value), value.toLocaleString("en-US"));
  }
  fc.assert(fc.property(fc.maxSafeNat(), (value) => {
    assertEquals(withThousands(value), value.toLocaleString("en-US"));
  }));
});
