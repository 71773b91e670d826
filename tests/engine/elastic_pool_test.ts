import { assertEquals, assertRejects } from "@std/assert";
import { RequestError } from "../../src/core/errors.ts";
import type { KvDecision } from "../../src/core/kv_decision.ts";
import { ElasticPool } from "../../src/engine/elastic_pool.ts";
import { requestOf } from "../support/requests.ts";
import { SchedulerRig } from "../support/scheduler_rig.ts";

/** A pool of 8 blocks that may grow to `limit` by itself, on a device with room for `maxNumBlocks`. */
function elastic({ limit = Infinity, maxNumBlocks = Infinity } = {}) {
  const decisions: KvDecision[] = [];
  const onDecision = (decision: KvDecision) => decisions.push(decision);
  const rig = new SchedulerRig({ numBlocks: 8, blockSize: 2, maxModelLen: 8, onDecision });
  rig.runner.maxNumBlocks = maxNumBlocks;
  const pool = new ElasticPool(rig.scheduler.pool, rig.runner, limit);
  return { pool, rig, decisions, size: () => rig.blocks.numBlocks };
}

const SHORTAGE = { sequenceId: 3, numMissing: 1 };

Deno.test("ElasticPool.grow() doubles, takes what is missing if that is more, and stops at the limit", async () => {
  const { pool, rig, size } = elastic({ limit: 100 });
  await pool.grow(SHORTAGE);
  assertEquals(size(), 16);
  await pool.grow({ ...SHORTAGE, numMissing: 40 });
  assertEquals(size(), 56);
  await pool.grow(SHORTAGE);
  assertEquals([size(), pool.shortage(), rig.scheduler.stats.numPoolGrowths], [100, undefined, 3]);
});

Deno.test("ElasticPool.grow() tries less after each refusal, until that is all there is", async () => {
  const { pool, decisions, size } = elastic({ maxNumBlocks: 21 });
  const sizes: number[] = [];
  for (let i = 0; i < 6; i++) {
    await pool.grow(SHORTAGE);
    sizes.push(size());
  }
  assertEquals(sizes, [16, 16, 16, 20, 20, 20]);
  assertEquals(
    decisions.flatMap((decision) => decision.type === "refuse_growth" ? decision.numWanted : []),
    [32, 24, 25, 23],
  );
  assertEquals(pool.shortage(), undefined);
});

Deno.test("ElasticPool.grow() gives up at once where not even what is missing can be had", async () => {
  const { pool, decisions, rig } = elastic({ maxNumBlocks: 9 });
  rig.add(...["a", "b", "c"].map((id) => requestOf(id, 5)));
  rig.step();
  assertEquals(pool.shortage(), { sequenceId: 2, numMissing: 1 });
  await pool.grow({ ...SHORTAGE, numMissing: 50 });
  assertEquals([decisions.at(-1)?.type, pool.shortage()], ["refuse_growth", undefined]);
});

Deno.test("ElasticPool.resize() gives memory before the pool grows, and says what a shrink did", async () => {
  const { pool, rig, size } = elastic({ limit: 100 });
  assertEquals(await pool.resize(12), { numBefore: 8, numAfter: 12, numEvicted: 0, numMoved: 0 });
  rig.add(...["a", "b", "c"].map((id) => requestOf(id, 3)));
  rig.step();
  rig.scheduler.abort("a");
  rig.scheduler.abort("b");
  assertEquals(await pool.resize(4), { numBefore: 12, numAfter: 4, numEvicted: 0, numMoved: 2 });
  rig.add(requestOf("d", 7));
  rig.step();
  assertEquals([size(), rig.scheduler.pool.shortage()?.numMissing], [4, 3]);
  assertEquals(pool.shortage(), undefined, "a size that was asked for is kept");
  rig.finish();
});

Deno.test("ElasticPool.resize() tells that the device has no room, and leaves all as it was", async () => {
  const { pool, rig } = elastic({ maxNumBlocks: 10 });
  const before = rig.scheduler.stats;
  const { data } = await assertRejects(
    () => pool.resize(11),
    RequestError,
    "it keeps its 8: no room",
  );
  assertEquals([data.status, data.code], [409, "out_of_device_memory"]);
  assertEquals(rig.scheduler.stats, before);
});
