import { assertEquals, assertThrows } from "@std/assert";
import { InvariantError } from "../../../src/base/invariant.ts";
import type { BlockId } from "../../../src/core/ids.ts";
import { planSlabs } from "../../../src/core/slab_layout.ts";
import { SlabPool } from "../../../src/kvcache/groups/slab_pool.ts";

/** Small blocks are two to a slab, large ones one; with a log of what is evicted. */
function mixedPool(numSlabs: number): { pool: SlabPool; evicted: [number, BlockId][] } {
  const evicted: [number, BlockId][] = [];
  const pool = new SlabPool(planSlabs([4, 8]), 8 * numSlabs, (group, id) => {
    evicted.push([group, id]);
  });
  return { pool, evicted };
}

const SMALL = 0;
const LARGE = 1;

/** Marks blocks and lets them go, in this order, in one moment. */
function cache(pool: SlabPool, group: number, ids: readonly BlockId[]): void {
  pool.tick();
  for (const id of ids) {
    pool.mark(group, id);
    pool.release(group, id);
  }
}

Deno.test("SlabPool hands out ascending ids, and first what was freed last", () => {
  const pool = new SlabPool(planSlabs([8]), 40);
  assertEquals(pool.tryAllocate(1, { counts: [3] }), [[0, 1, 2]]);
  pool.release(0, 1);
  pool.release(0, 0);
  assertEquals(pool.tryAllocate(1, { counts: [4] }), [[0, 1, 3, 4]]);
});

Deno.test("S3: SlabPool.tryAllocate() of more than there is takes nothing", () => {
  const { pool } = mixedPool(2);
  assertEquals(pool.tryAllocate(1, { counts: [1, 2] }), undefined);
  assertEquals(pool.tryAllocate(1, { counts: [5, 0] }), undefined);
  assertEquals([pool.numAvailableSlabs, pool.usage().freeBytes], [2, 16]);
});

Deno.test("SlabPool prefers a slab of the same sequence, then a free one (steps 1 and 2)", () => {
  const { pool } = mixedPool(3);
  assertEquals(pool.tryAllocate(1, { counts: [1, 0] }), [[0], []]);
  assertEquals(pool.tryAllocate(2, { counts: [1, 0] }), [[2], []]);
  assertEquals(pool.tryAllocate(1, { counts: [1, 0] }), [[1], []]);
});

Deno.test("SlabPool evicts the oldest whole slab of any group before it takes another's rest (3, 4)", () => {
  const { pool, evicted } = mixedPool(3);
  pool.tryAllocate(1, { counts: [2, 1] });
  cache(pool, LARGE, [1]);
  cache(pool, SMALL, [1, 0]);
  pool.tryAllocate(2, { counts: [1, 0] });
  assertEquals(pool.tryAllocate(3, { counts: [1, 0] }), [[2], []]);
  assertEquals(evicted, [[LARGE, 1]], "the older slab, though it was another group's");
  assertEquals(pool.tryAllocate(4, { counts: [0, 1] }), [[], [0]]);
  assertEquals(evicted.slice(1), [[SMALL, 0], [SMALL, 1]]);
  assertEquals(pool.tryAllocate(5, { counts: [1, 0] }), [[5], []], "no slab is left");
});

Deno.test("SlabPool evicts the oldest block of the group when nothing else is left (step 5)", () => {
  const { pool, evicted } = mixedPool(2);
  assertEquals(pool.tryAllocate(1, { counts: [4, 0] }), [[0, 1, 2, 3], []]);
  cache(pool, SMALL, [2]);
  cache(pool, SMALL, [1]);
  assertEquals(pool.tryAllocate(2, { counts: [0, 1] }), undefined, "no slab empties");
  assertEquals(pool.tryAllocate(2, { counts: [1, 0] }), [[2], []]);
  assertEquals(evicted, [[SMALL, 2]]);
});

Deno.test("S127: SlabPool shrinks what one group can get by what another takes", () => {
  const { pool } = mixedPool(3);
  const available = () => [pool.numAvailable(SMALL), pool.numAvailable(LARGE)];
  assertEquals(available(), [6, 3]);
  pool.tryAllocate(1, { counts: [1, 1] });
  assertEquals(available(), [3, 1]);
  pool.release(SMALL, 0);
  assertEquals(available(), [4, 2]);
});

Deno.test("SlabPool.forgetOwner() ends the first choice of a sequence", () => {
  const { pool } = mixedPool(2);
  pool.tryAllocate(1, { counts: [1, 0] });
  pool.forgetOwner(1);
  assertEquals(pool.tryAllocate(1, { counts: [1, 0] }), [[2], []]);
});

Deno.test("SlabPool.tryAllocate() leaves a slab to the group that cannot do without", () => {
  const { pool } = mixedPool(2);
  pool.tryAllocate(1, { counts: [1, 0] });
  assertEquals(pool.tryAllocate(2, { counts: [1, 1] }), [[1], [1]]);
});

Deno.test("I13: SlabPool.tryAllocate() evicts no hit of one group for another", () => {
  const { pool, evicted } = mixedPool(3);
  pool.tryAllocate(1, { counts: [2, 2] });
  cache(pool, SMALL, [1, 0]);
  cache(pool, LARGE, [2, 1]);
  const taken = pool.tryAllocate(2, { counts: [0, 1], hits: [[0], [2]] });
  assertEquals([taken, evicted], [[[], [1]], [[LARGE, 1]]]);
  assertEquals([pool.refCount(SMALL, 0), pool.refCount(LARGE, 2)], [1, 1]);
});

Deno.test("S16: SlabPool.tryAllocate() does not count its own hits as room", () => {
  const { pool } = mixedPool(2);
  pool.tryAllocate(1, { counts: [0, 2] });
  cache(pool, LARGE, [1, 0]);
  assertEquals(pool.tryAllocate(2, { counts: [0, 2], hits: [[], [0]] }), undefined);
  assertEquals([pool.refCount(LARGE, 0), pool.numAvailableSlabs], [0, 2]);
  assertEquals(pool.tryAllocate(2, { counts: [0, 1], hits: [[], [0]] }), [[], [1]]);
});

Deno.test("SlabPool.release() shares one moment between groups until the next tick", () => {
  const { pool } = mixedPool(3);
  pool.tryAllocate(1, { counts: [1, 2] });
  cache(pool, SMALL, [0]);
  pool.mark(LARGE, 1);
  pool.release(LARGE, 1);
  cache(pool, LARGE, [2]);
  assertEquals(pool.lastUsed(SMALL, 0), pool.lastUsed(LARGE, 1));
  assertEquals(pool.lastUsed(LARGE, 2), pool.lastUsed(LARGE, 1) + 1);
});

Deno.test("SlabPool.canAllocate() keeps slabs for others when told to", () => {
  const { pool } = mixedPool(3);
  const demand = { counts: [2, 1] };
  assertEquals([pool.canAllocate(demand, 1), pool.canAllocate(demand, 2)], [true, false]);
});

Deno.test("SlabPool.usage() names padding: strides beyond the blocks, and the end of the pool", () => {
  const pool = new SlabPool(planSlabs([10, 20], { alignBytes: 8 }), 2 * 48 + 5);
  pool.tryAllocate(1, { counts: [2, 1] });
  cache(pool, 0, [0]);
  assertEquals(pool.usage(), {
    freeBytes: 16 + 24,
    cachedBytes: 10,
    usedBytes: 10 + 20,
    paddingBytes: 5 + 2 * 6 + 4,
    poolBytes: 101,
  });
});

Deno.test("SlabPool refuses wrong moves by name", () => {
  const { pool } = mixedPool(2);
  pool.tryAllocate(1, { counts: [2, 0] });
  pool.release(SMALL, 1);
  assertThrows(
    () => pool.release(SMALL, 1),
    InvariantError,
    "double release of block 1 of group 0",
  );
  assertThrows(() => pool.retain(SMALL, [1]), InvariantError, "retain of free block 1 of group 0");
  assertThrows(() => pool.mark(SMALL, 1), InvariantError, "mark of unused block 1");
  assertThrows(() => pool.unmark(SMALL, 0), InvariantError, "unmark of unmarked block 0");
  assertThrows(() => pool.retain(LARGE, [0]), InvariantError, "block 0 does not lie in a slab of");
  assertThrows(() => new SlabPool(planSlabs([8]), 7), InvariantError, "a pool of 0 slabs");
});
