import { assertEquals } from "@std/assert";
import { omitUndefined } from "../../src/base/omit_undefined.ts";

Deno.test("omitUndefined() keeps all fields but those that are undefined", () => {
  const kept = omitUndefined({ a: 1, b: undefined, c: null, d: 0, e: "" });
  assertEquals(Object.entries(kept), [["a", 1], ["c", null], ["d", 0], ["e", ""]]);
});
