import { assertEquals } from "@std/assert";
import { z } from "zod";
import { boundedArray } from "../../../src/http/body/bounded_array.ts";

Deno.test("boundedArray() checks the length before any element", () => {
  const schema = boundedArray(z.string(), { min: 1, max: 3 });
  assertEquals(schema.parse(["a", "b"]), ["a", "b"]);
  assertEquals(schema.safeParse([]).error?.issues.map(({ code }) => code), ["too_small"]);
  const tooLong = schema.safeParse(new Array(1000).fill(1));
  assertEquals(tooLong.error?.issues.map(({ code }) => code), ["too_big"]);
  assertEquals(schema.safeParse(["a", 1]).error?.issues[0]?.path, [1]);
});
