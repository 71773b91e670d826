import { assertEquals } from "@std/assert";
import { EvictedKeys } from "../../src/kvcache/evicted_keys.ts";

Deno.test("EvictedKeys remembers the latest keys, and none after a clear", () => {
  const keys = new EvictedKeys(2);
  assertEquals(keys.isEmpty, true);
  for (const key of ["a", "b", "a", "c"]) keys.add(key);
  assertEquals(["a", "b", "c"].map((key) => keys.has(key)), [true, false, true]);
  keys.clear();
  assertEquals([keys.isEmpty, keys.has("a")], [true, false]);
});
