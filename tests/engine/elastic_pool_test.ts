import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { RequestError } from "../../src/core/errors.ts";
import type { GenerationRequest } from "../../src/core/generation.ts";
import type { KvDecision } from "../../src/core/kv_decision.ts";
import { ElasticPool } from "../../src/engine/elastic_pool.ts";
import { requestOf } from "../support/requests.ts";
import { SchedulerRig } from "../support/scheduler_rig.ts";

/** A pool of `numBlocks` that may grow to `limit` by itself, on a device with room for `maxNumBlocks`. */
function elastic({ numBlocks = 8, limit = Infinity, maxNumBlocks = Infinity } = {}) {
  const decisions: KvDecision[] = [];
  const onDecision = (decision: KvDecision) => decisions.push(decision);
  const rig = new SchedulerRig({
    numBlocks,
    blockSize: 2,
    maxModelLen: 8,
    vocabSize: 30,
    onDecision,
  });
  rig.runner.maxNumBlocks = maxNumBlocks;
  const pool = new ElasticPool(rig.scheduler.pool, rig.runner, limit);
  return { pool, rig, decisions, size: () => rig.blocks.numBlocks };
}

const SHORTAGE = { sequenceId: 3, numMissing: 1, isLone: false };

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
  assertEquals(pool.shortage(), { sequenceId: 2, numMissing: 1, isLone: false });
  await pool.grow({ ...SHORTAGE, numMissing: 50 });
  assertEquals([decisions.at(-1)?.type, pool.shortage()], ["refuse_growth", undefined]);
});

Deno.test("ElasticPool.grow() tries down to what is missing at once for who would end otherwise", async () => {
  const sizes = [32, 24, 20, 18, 17, 16];
  for (const [i, maxNumBlocks] of sizes.entries()) {
    const { pool, size, decisions } = elastic({ numBlocks: 16, maxNumBlocks });
    await pool.grow({ ...SHORTAGE, isLone: true });
    const tried = decisions.flatMap((each) => each.type === "refuse_growth" ? each.numWanted : []);
    assertEquals([size(), tried], [maxNumBlocks, sizes.slice(0, i)]);
  }
  const { pool } = elastic({ maxNumBlocks: 8 });
  await pool.grow({ ...SHORTAGE, isLone: true });
  assertEquals(pool.shortage(), undefined);
});

/** A search of ten beams, which fork at once: eleven blocks of 2 hold their first step. */
function wideSearch(): GenerationRequest {
  const beamSearch = { width: 10, lengthPenalty: 1, earlyStopping: true };
  const { sequences: [sequence] } = requestOf("wide", 3, { maxTokens: 5 });
  return { id: "wide", beamSearch, sequences: Array.from({ length: 10 }, () => sequence!) };
}

/** What becomes of it in a pool, which grows between two steps. */
async function answersIn({ pool, rig }: ReturnType<typeof elastic>) {
  rig.add(wideSearch());
  while (rig.scheduler.hasWork) {
    const shortage = pool.shortage();
    if (shortage !== undefined) await pool.grow(shortage);
    rig.step();
  }
  return Array.from({ length: 10 }, (_, index) => [
    ...[rig.endOf("wide", index)?.finishReason, rig.tokensOf("wide", index)],
  ]);
}

Deno.test("ElasticPool grows for a search alone whose beams its pool does not hold yet", async () => {
  const large = elastic();
  await large.pool.resize(200);
  const expected = await answersIn(large);
  assertEquals(expected.map(([reason]) => reason), Array(10).fill("length"));
  for (const maxNumBlocks of [40, Infinity]) {
    const growing = elastic({ limit: 100, maxNumBlocks });
    assertEquals(await answersIn(growing), expected);
    const { numPoolGrowths, numPreemptions } = growing.rig.scheduler.stats;
    assert(numPoolGrowths > 0);
    assertEquals(numPreemptions, 0);
  }
});

Deno.test("ElasticPool lets a search be refused that it could never grow for, or end as the device refuses", async () => {
  const limited = elastic({ limit: 10 });
  assertThrows(() => limited.rig.add(wideSearch()), RequestError, "holds 20 (10 blocks of 2)");
  const small = elastic({ limit: 100, maxNumBlocks: 10 });
  const reasons = (await answersIn(small)).map(([reason]) => reason);
  assertEquals(reasons, Array(10).fill("error"));
  assertThrows(() => small.rig.add(wideSearch()), RequestError, "10 beams");
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
