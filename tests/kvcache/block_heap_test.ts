import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvariantError } from "../../src/base/invariant.ts";
import { BlockHeap } from "../../src/kvcache/block_heap.ts";

Deno.test("BlockHeap agrees with a sorted array under any history", () => {
  const step = fc.record({ id: fc.nat(15), rank: fc.nat(3) });
  fc.assert(
    fc.property(fc.array(step), (history) => {
      const ranks = new Array<number>(16).fill(0);
      const isBefore = (a: number, b: number) =>
        ranks[a]! < ranks[b]! || (ranks[a] === ranks[b] && a < b);
      const heap = new BlockHeap(16, isBefore);
      let model: number[] = [];
      for (const { id, rank } of history) {
        assertEquals(heap.has(id), model.includes(id));
        if (heap.has(id)) {
          heap.remove(id);
          model = model.filter((other) => other !== id);
        } else {
          ranks[id] = rank;
          heap.push(id);
          model = [...model, id].sort((a, b) => isBefore(a, b) ? -1 : 1);
        }
        heap.checkIntegrity();
        assertEquals([heap.length, heap.first], [model.length, model[0]]);
      }
    }),
    { seed: 11, numRuns: 500 },
  );
});

Deno.test("BlockHeap refuses a block it has, and one it has not", () => {
  const heap = new BlockHeap(2, (a, b) => a < b);
  heap.push(1);
  assertThrows(() => heap.push(1), InvariantError, "block 1 is in the heap already");
  assertThrows(() => heap.remove(0), InvariantError, "block 0 is not in the heap");
});
