import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvariantError } from "../../src/base/invariant.ts";
import { FreeBlockList } from "../../src/kvcache/free_block_list.ts";

Deno.test("FreeBlockList starts with every block, lowest first", () => {
  const list = new FreeBlockList(5);
  assertEquals([...list.ids()], [0, 1, 2, 3, 4]);
  assertEquals(list.numBlocks, 5);
  list.checkIntegrity();
});

Deno.test("FreeBlockList.takeFirst() empties the list in order and then refuses", () => {
  const list = new FreeBlockList(3);
  assertEquals([list.takeFirst(), list.takeFirst(), list.takeFirst()], [0, 1, 2]);
  assertEquals(list.numBlocks, 0);
  list.checkIntegrity();
  assertThrows(() => list.takeFirst(), InvariantError, "empty free list");
});

Deno.test("FreeBlockList.remove() unlinks a block from the start, the middle and the end", () => {
  for (const id of [0, 2, 4]) {
    const list = new FreeBlockList(5);
    list.remove(id);
    assertEquals([...list.ids()], [0, 1, 2, 3, 4].filter((other) => other !== id));
    assertEquals(list.has(id), false);
    list.checkIntegrity();
  }
});

Deno.test("FreeBlockList refuses a block it has, and one it has not", () => {
  const list = new FreeBlockList(2);
  assertThrows(() => list.putFirst(1), InvariantError, "block 1 is on the free list already");
  list.remove(1);
  assertThrows(() => list.remove(1), InvariantError, "block 1 is not on the free list");
});

Deno.test("FreeBlockList agrees with an array under any history", () => {
  const step = fc.record({ verb: fc.constantFrom("take", "put", "remove"), pick: fc.nat(99) });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.array(step), (numBlocks, history) => {
      const list = new FreeBlockList(numBlocks);
      const model = Array.from({ length: numBlocks }, (_, id) => id);
      for (const { verb, pick } of history) {
        const id = pick % numBlocks;
        const at = model.indexOf(id);
        if (verb === "take" && model.length > 0) assertEquals(list.takeFirst(), model.shift());
        if (verb === "put" && at < 0) {
          list.putFirst(id);
          model.unshift(id);
        }
        if (verb === "remove" && at >= 0) {
          list.remove(id);
          model.splice(at, 1);
        }
        list.checkIntegrity();
        assertEquals([...list.ids()], model);
        assertEquals(list.numBlocks, model.length);
      }
    }),
    { seed: 1, numRuns: 300 },
  );
});
