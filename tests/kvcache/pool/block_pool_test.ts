import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { InvariantError } from "../../../src/base/invariant.ts";
import { OutOfBlocksError } from "../../../src/core/errors.ts";
import type { BlockId } from "../../../src/core/ids.ts";
import { BlockPool } from "../../../src/kvcache/pool/block_pool.ts";
import { runs } from "../../support/runs.ts";

Deno.test("BlockPool.allocate() hands out ascending ids from a fresh pool", () => {
  assertEquals(new BlockPool(4).allocate(3), [0, 1, 2]);
});

Deno.test("BlockPool.allocate() takes all or nothing", () => {
  const pool = new BlockPool(4);
  pool.allocate(3);
  const error = assertThrows(() => pool.allocate(2), OutOfBlocksError, "1 are free");
  assertEquals([error.requested, error.available], [2, 1]);
  assertEquals(pool.numFree, 1);
  assertEquals(pool.allocate(1), [3]);
});

Deno.test("BlockPool.release() frees a table's end first, for reuse before all others", () => {
  const pool = new BlockPool(5);
  const table = pool.allocate(3);
  pool.release(table);
  assertEquals(pool.allocate(5), [2, 1, 0, 3, 4]);
});

Deno.test("BlockPool.release() frees a block with its last reference only", () => {
  const pool = new BlockPool(2);
  const [id] = pool.allocate(1);
  pool.retain([id!]);
  pool.release([id!]);
  assertEquals(pool.numFree, 1);
  pool.release([id!]);
  assertEquals(pool.numFree, 2);
  assertThrows(() => pool.release([id!]), InvariantError, "double release of block 0");
});

Deno.test("BlockPool.retain() takes a free block off the list, wherever it stands", () => {
  const pool = new BlockPool(4);
  pool.retain([2]);
  assertEquals(pool.refCount(2), 1);
  assertEquals(pool.allocate(3), [0, 1, 3]);
});

Deno.test("BlockPool names a block outside itself", () => {
  for (const id of [-1, 4, 0.5]) {
    assertThrows(() => new BlockPool(4).retain([id]), InvariantError, `block ${id} outside`);
  }
});

/** What a pool is, said slowly: one list entry per reference held. */
type Model = { held: BlockId[] };
type Step = fc.Command<Model, BlockPool>;

function checkAgreement(model: Readonly<Model>, pool: BlockPool): void {
  pool.checkIntegrity();
  const ids = Array.from({ length: pool.numBlocks }, (_, id) => id);
  assertEquals(
    ids.map((id) => pool.refCount(id)),
    ids.map((id) => model.held.filter((held) => held === id).length),
  );
  assertEquals(pool.numFree, pool.numBlocks - new Set(model.held).size);
}

class Allocate implements Step {
  constructor(readonly count: number) {}
  check = () => true;
  run(model: Model, pool: BlockPool) {
    if (this.count > pool.numBlocks - new Set(model.held).size) {
      assertThrows(() => pool.allocate(this.count), OutOfBlocksError);
    } else {
      const ids = pool.allocate(this.count);
      ids.forEach((id) => assertEquals(model.held.includes(id), false, `block ${id} was held`));
      model.held.push(...ids);
    }
    checkAgreement(model, pool);
  }
  toString = () => `allocate(${this.count})`;
}

class Retain implements Step {
  constructor(readonly pick: number) {}
  check = () => true;
  run(model: Model, pool: BlockPool) {
    const id = this.pick % pool.numBlocks;
    pool.retain([id]);
    model.held.push(id);
    checkAgreement(model, pool);
  }
  toString = () => `retain(#${this.pick})`;
}

class Release implements Step {
  constructor(readonly pick: number, readonly count: number) {}
  check = (model: Readonly<Model>) => model.held.length > 0;
  run(model: Model, pool: BlockPool) {
    pool.release(model.held.splice(this.pick % model.held.length, this.count));
    checkAgreement(model, pool);
  }
  toString = () => `release(#${this.pick}, ${this.count})`;
}

Deno.test("BlockPool agrees with a list of references under any history", () => {
  const steps = fc.commands([
    fc.nat({ max: 5 }).map((count) => new Allocate(count)),
    fc.nat({ max: 99 }).map((pick) => new Retain(pick)),
    fc.tuple(fc.nat({ max: 99 }), fc.nat({ max: 4 })).map(([pick, n]) => new Release(pick, n)),
  ], { maxCommands: 100 });

  fc.assert(
    fc.property(fc.integer({ min: 1, max: 16 }), steps, (numBlocks, history) => {
      fc.modelRun(
        () => ({ model: { held: [] as BlockId[] }, real: new BlockPool(numBlocks) }),
        history,
      );
    }),
    { seed: 2, numRuns: runs(200) },
  );
});
