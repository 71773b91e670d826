import { assertThrows } from "@std/assert";
import { invariant, InvariantError } from "../../src/base/invariant.ts";

Deno.test("invariant() passes what holds and throws InvariantError otherwise", () => {
  invariant(true, "unseen");
  assertThrows(() => invariant(0, "zero blocks"), InvariantError, "zero blocks");
});
