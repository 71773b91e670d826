import { assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../../src/base/invariant.ts";
import { FreeStacks } from "../../../src/kvcache/pool/free_stacks.ts";

Deno.test("FreeStacks.pop() gives a slab's first block first, and what was pushed last", () => {
  const stacks = new FreeStacks(2, 3);
  stacks.fill(1, 2);
  assertEquals([stacks.idsOf(0), stacks.idsOf(1)], [[], [3, 4]]);
  assertEquals(stacks.pop(1), 3);
  stacks.push(1, 3);
  assertEquals([stacks.pop(1), stacks.pop(1)], [3, 4]);
  assertThrows(() => stacks.pop(1), InvariantError, "slab 1 has no free block");
});

Deno.test("FreeStacks.fill() forgets what was on the stack", () => {
  const stacks = new FreeStacks(1, 4);
  stacks.fill(0, 4);
  stacks.fill(0, 2);
  assertEquals(stacks.idsOf(0), [0, 1]);
});

Deno.test("FreeStacks.pop() empties a slab that is one block", () => {
  const stacks = new FreeStacks(3, 1);
  stacks.fill(2, 1);
  assertEquals([stacks.pop(2), stacks.idsOf(2)], [2, []]);
});
