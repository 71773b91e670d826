import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvariantError } from "../../../src/base/invariant.ts";
import { OutOfBlocksError } from "../../../src/core/errors.ts";
import type { BlockId } from "../../../src/core/ids.ts";
import { SlabPool } from "../../../src/kvcache/pool/slab_pool.ts";
import { runs, times } from "../../support/runs.ts";

Deno.test("SlabPool gives an owner the rest of its slabs before others are opened", () => {
  const pool = new SlabPool(4, [3, 1]);
  const [first] = pool.take([1, 0], 1);
  pool.take([0, 1], 2);
  assertEquals([first, pool.numFree], [[0], 2]);
  assertEquals(pool.take([2, 0], 1)[0], [1, 2], "slab 0 is cut into three");
  assertEquals(pool.take([1, 0], 1)[0], [6], "slab 1 is another group's");
  pool.checkIntegrity();
});

Deno.test("SlabPool takes all or nothing, and counts what is missing in slabs", () => {
  const pool = new SlabPool(2, [3, 1]);
  assertEquals(pool.countMissing({ demand: [4, 1] }), 1);
  assertThrows(() => pool.take([4, 1], 1), OutOfBlocksError);
  assertEquals(pool.numFree, 2);
  assertEquals(pool.take([3, 1], 1).map((ids) => ids.length), [3, 1]);
  assertEquals([pool.numFree, pool.countMissing({ demand: [1, 0] })], [0, 1]);
});

Deno.test("SlabPool frees a slab with the last of its blocks, and any group may have it then", () => {
  const pool = new SlabPool(1, [2, 1]);
  const [ids] = pool.take([2, 0], 1);
  pool.mark(ids![0]!);
  pool.release(ids!);
  assertEquals([pool.numFree, pool.numIdle], [0, 1]);
  pool.unmark(ids![0]!);
  assertEquals([pool.numFree, pool.numIdle], [1, 0]);
  assertEquals(pool.take([0, 1], 2), [[], [0]]);
  assertThrows(() => pool.release([1]), InvariantError, "double release of block 1");
  pool.checkIntegrity();
});

Deno.test("SlabPool moves slabs whole when it shrinks", () => {
  const pool = new SlabPool(3, [2, 1]);
  const [low] = pool.take([2, 0], 1);
  pool.take([0, 1], 2);
  const [high] = pool.take([1, 0], 3);
  assertEquals([low, high], [[0, 1], [4]]);
  pool.release(low!);
  const remap = pool.planResize(2);
  assertEquals(remap.moves, [{ from: 4, to: 0 }]);
  pool.resize(remap);
  pool.checkIntegrity();
  assertEquals([pool.numFree, pool.refCount(0), pool.groupOf(0)], [0, 1, 0]);
});

Deno.test("SlabPool says exactly what it can give, and conserves blocks, over 200,000 operations", () => {
  let numSteps = 0;
  let numRefused = 0;
  const steps = fc.array(
    fc.record({
      verb: fc.constantFrom("take", "take", "release", "idle", "retain", "unmark", "forget"),
      demand: fc.tuple(fc.nat(4), fc.nat(3)),
      owner: fc.nat(3),
      pick: fc.nat(50),
    }),
    { minLength: 50, maxLength: 50 },
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.noBias(steps), (numSlabs, history) => {
      const pool = new SlabPool(numSlabs, [3, 2]);
      const used: BlockId[] = [];
      const idle: BlockId[] = [];
      const takeOut = (list: BlockId[], pick: number) => list.splice(pick % list.length, 1)[0]!;
      for (const { verb, demand, owner, pick } of history) {
        numSteps++;
        if (verb === "take") {
          const evict = () => pool.unmark(idle.shift()!);
          if (pool.countMissing({ demand }) > 0) {
            assertThrows(() => pool.take(demand, owner, evict), OutOfBlocksError);
            numRefused++;
          } else {
            const taken = pool.take(demand, owner, evict);
            assertEquals(taken.map((ids) => ids.length), [...demand]);
            used.push(...taken.flat());
          }
        } else if (verb === "forget") pool.forgetSequence(owner);
        else if ((verb === "release" || verb === "idle") && used.length > 0) {
          const id = takeOut(used, pick);
          if (verb === "idle") pool.mark(id);
          if (verb === "idle") idle.push(id);
          pool.release([id]);
        } else if (verb === "retain" && idle.length > 0) {
          const id = takeOut(idle, pick);
          pool.retain([id]);
          pool.unmark(id);
          used.push(id);
        } else if (verb === "unmark" && idle.length > 0) pool.unmark(takeOut(idle, pick));
        pool.checkIntegrity();
        assertEquals(new Set([...used, ...idle]).size, used.length + idle.length);
        for (const id of used) assertEquals(pool.refCount(id), 1);
        for (const id of idle) assert(pool.isIdle(id));
      }
    }),
    { seed: 12, numRuns: runs(4000) },
  );
  assert(numSteps >= times(200_000) && numRefused > times(10_000), `${numRefused} refused`);
});
