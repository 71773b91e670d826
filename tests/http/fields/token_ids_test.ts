import { assertEquals, assertThrows } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import { parseTokenIds } from "../../../src/http/fields/token_ids.ts";

Deno.test("parseTokenIds() lets integers within the vocabulary pass", () => {
  assertEquals(parseTokenIds([0, 5, 9], "prompt", 10), [0, 5, 9]);
  assertEquals(parseTokenIds([], "prompt", 10), []);
});

Deno.test("parseTokenIds() names the first value that is no token id", () => {
  for (const bad of [10, -1, 1.5, Infinity, "1", null, {}]) {
    const { data } = assertThrows(() => parseTokenIds([1, bad, -7], "prompt.2", 10), RequestError);
    assertEquals([data.status, data.param], [400, "prompt.2.1"]);
  }
});
