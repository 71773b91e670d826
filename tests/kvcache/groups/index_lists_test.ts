import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvariantError } from "../../../src/base/invariant.ts";
import { IndexLists, NO_LIST } from "../../../src/kvcache/groups/index_lists.ts";
import { runs } from "../../support/runs.ts";

Deno.test("S1: IndexLists takes from the front, the middle and the end, down to none", () => {
  const lists = new IndexLists(5, 2);
  for (const item of [0, 1, 2, 3, 4]) lists.putLast(0, item);
  assertEquals([lists.count(0), [...lists.items(0)]], [5, [0, 1, 2, 3, 4]]);
  for (const item of [0, 2, 4]) lists.remove(item);
  assertEquals([...lists.items(0)], [1, 3]);
  lists.putFirst(0, 2);
  assertEquals([lists.first(0), [...lists.items(0)]], [2, [2, 1, 3]]);
  for (const item of [1, 2, 3]) lists.remove(item);
  assertEquals([lists.count(0), lists.first(0)], [0, undefined]);
});

Deno.test("IndexLists lets an item be on one list at most", () => {
  const lists = new IndexLists(2, 2);
  lists.putLast(0, 1);
  assertThrows(() => lists.putFirst(1, 1), InvariantError, "item 1 is on list 0");
  assertThrows(() => lists.remove(0), InvariantError, "item 0 is on no list");
  assertEquals([lists.listOf(0), lists.listOf(1)], [NO_LIST, 0]);
});

Deno.test("IndexLists agrees with arrays under any history", () => {
  const step = fc.record({
    verb: fc.constantFrom("first", "last", "remove"),
    item: fc.nat(5),
    list: fc.nat(2),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (history) => {
      const lists = new IndexLists(6, 3);
      const model: number[][] = [[], [], []];
      for (const { verb, item, list } of history) {
        const home = model.find((items) => items.includes(item));
        if (verb === "remove" && home !== undefined) {
          lists.remove(item);
          home.splice(home.indexOf(item), 1);
        }
        if (verb === "first" && home === undefined) {
          lists.putFirst(list, item);
          model[list]!.unshift(item);
        }
        if (verb === "last" && home === undefined) {
          lists.putLast(list, item);
          model[list]!.push(item);
        }
        lists.checkIntegrity();
        assertEquals(model.map((_, l) => [...lists.items(l)]), model);
        assertEquals(model.map((_, l) => lists.count(l)), model.map((items) => items.length));
      }
    }),
    { seed: 45, numRuns: runs(1000) },
  );
});
