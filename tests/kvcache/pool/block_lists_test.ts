import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvariantError } from "../../../src/base/invariant.ts";
import { BlockLists } from "../../../src/kvcache/pool/block_lists.ts";
import { runs } from "../../support/runs.ts";

/** One list of `[0, numBlocks)` in order. */
function fullList(numBlocks: number): BlockLists {
  const lists = new BlockLists(numBlocks, 1);
  for (let id = 0; id < numBlocks; id++) lists.putLast(0, id);
  return lists;
}

Deno.test("BlockLists is first in, first out at the end, last in, first out at the start (S1)", () => {
  const lists = fullList(5);
  assertEquals([...lists.ids(0)], [0, 1, 2, 3, 4]);
  assertEquals([lists.length(0), lists.first(0)], [5, 0]);
  for (const id of [0, 4, 2]) {
    lists.remove(id);
    assertEquals(lists.has(id), false);
    lists.checkIntegrity();
  }
  assertEquals([...lists.ids(0)], [1, 3]);
  lists.putFirst(0, 2);
  lists.putLast(0, 0);
  assertEquals([...lists.ids(0)], [2, 1, 3, 0]);
  for (const id of [2, 1, 3, 0]) lists.remove(id);
  assertEquals([lists.length(0), lists.first(0)], [0, undefined]);
  lists.checkIntegrity();
});

Deno.test("BlockLists keeps each block on one list at most", () => {
  const lists = new BlockLists(3, 2);
  lists.putLast(0, 1);
  lists.putLast(1, 2);
  assertEquals([lists.listOf(0), lists.listOf(1), lists.listOf(2)], [-1, 0, 1]);
  assertThrows(() => lists.putFirst(1, 1), InvariantError, "block 1 is on list 0 already");
  assertThrows(() => lists.remove(0), InvariantError, "block 0 is on no list");
});

Deno.test("BlockLists agrees with arrays under any history", () => {
  const step = fc.record({
    verb: fc.constantFrom("first", "last", "remove"),
    pick: fc.nat(99),
    list: fc.nat(1),
  });
  const sizes = fc.integer({ min: 1, max: 2 });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      sizes,
      fc.array(step),
      (numBlocks, numLists, history) => {
        const lists = new BlockLists(numBlocks, numLists);
        const models: number[][] = Array.from({ length: numLists }, () => []);
        for (const { verb, pick, list: pickedList } of history) {
          const list = pickedList % numLists;
          const id = pick % numBlocks;
          const home = models.findIndex((model) => model.includes(id));
          if (verb === "first" && home < 0) {
            lists.putFirst(list, id);
            models[list]!.unshift(id);
          }
          if (verb === "last" && home < 0) {
            lists.putLast(list, id);
            models[list]!.push(id);
          }
          if (verb === "remove" && home >= 0) {
            lists.remove(id);
            models[home]!.splice(models[home]!.indexOf(id), 1);
          }
          lists.checkIntegrity();
          models.forEach((model, i) => {
            assertEquals([...lists.ids(i)], model);
            assertEquals([lists.length(i), lists.first(i)], [model.length, model[0]]);
          });
        }
      },
    ),
    { seed: 1, numRuns: runs(300) },
  );
});
