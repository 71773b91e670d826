import { assertEquals, assertThrows } from "@std/assert";
import { RequestError } from "../../src/core/errors.ts";
import type { KvDecision } from "../../src/core/kv_decision.ts";
import { requestOf } from "../support/requests.ts";
import { SchedulerRig } from "../support/scheduler_rig.ts";

const TIGHT = { numBlocks: 4, blockSize: 2, maxModelLen: 8 };

Deno.test("PoolSizing.shortage() sees a preemption before it happens, and a sequence that waits", () => {
  const rig = new SchedulerRig(TIGHT);
  const { pool } = rig.scheduler;
  assertEquals(pool.shortage(), undefined);
  rig.add(requestOf("a", 4, { maxTokens: 4 }), requestOf("b", 4, { maxTokens: 4 }));
  assertEquals(pool.shortage(), undefined, "both fit");
  rig.step();
  // Each has filled two blocks and drawn a token that needs a third.
  assertEquals(pool.shortage(), { sequenceId: 1, numMissing: 2, isLone: false });
  rig.resize(5);
  assertEquals(pool.shortage(), { sequenceId: 1, numMissing: 1, isLone: false });
  rig.resize(6);
  assertEquals(pool.shortage(), undefined);
  rig.add(requestOf("c", 3));
  rig.step();
  assertEquals(pool.shortage(), { sequenceId: 2, numMissing: 2, isLone: false });
  rig.resize(12);
  rig.finish();
  assertEquals([rig.scheduler.stats.numPreemptions, pool.shortage()], [0, undefined]);
});

Deno.test("PoolSizing.shortage() counts what a pin keeps from the first to be admitted", () => {
  const rig = new SchedulerRig({ ...TIGHT, prefixCache: {} });
  rig.add(requestOf("a", 4, { maxTokens: 1 }));
  rig.finish();
  rig.blocks.pins!.pin("kept", "", new Uint32Array(4).fill(1));
  const prompt = Uint32Array.of(5, 5, 5, 5, 5);
  rig.add({
    id: "b",
    sequences: [{ ...requestOf("b", 1, { maxTokens: 1 }).sequences[0]!, prompt }],
  });
  assertEquals(rig.scheduler.pool.shortage(), { sequenceId: 1, numMissing: 1, isLone: true });
  rig.resize(5);
  assertEquals(rig.scheduler.pool.shortage(), undefined);
  rig.finish();
  assertEquals(rig.endOf("b")?.finishReason, "length");
});

Deno.test("PoolSizing.resize() tells and counts each resize, and who it was for", () => {
  const decisions: KvDecision[] = [];
  const onDecision = (decision: KvDecision) => decisions.push(decision);
  const { scheduler } = new SchedulerRig({ ...TIGHT, onDecision });
  scheduler.pool.resize(9);
  scheduler.pool.resize(12, 7);
  scheduler.pool.tellRefusal(7, 24);
  const counts = { numEvicted: 0, numMoved: 0 };
  assertEquals(decisions, [
    { type: "resize", numBefore: 4, numAfter: 9, ...counts },
    { type: "resize", sequenceId: 7, numBefore: 9, numAfter: 12, ...counts },
    { type: "refuse_growth", sequenceId: 7, numBlocks: 12, numWanted: 24 },
  ]);
  const { numBlocks, numPoolGrowths, numPoolResizes } = scheduler.stats;
  assertEquals([numBlocks, numPoolGrowths, numPoolResizes], [12, 1, 1]);
});

Deno.test("PoolSizing.resize() leaves room for one sequence of the greatest length", () => {
  const rig = new SchedulerRig({ ...TIGHT, numBlocks: 9 });
  const before = rig.scheduler.stats;
  const { data } = assertThrows(() => rig.resize(3), RequestError, "at least 4, got 3");
  assertEquals([data.status, data.code, data.param], [400, "kv_pool_too_small", "num_blocks"]);
  assertEquals(rig.scheduler.stats, before);
  rig.resize(4);
  assertEquals(rig.scheduler.stats.numBlocks, 4);
  // A pool that never held one may grow as it likes.
  const small = new SchedulerRig({ ...TIGHT, numBlocks: 2 });
  small.resize(3);
  assertThrows(() => small.resize(2), RequestError, "at least 4");
});

Deno.test("PoolSizing.resize() tells how many slabs the longest takes where cache groups share", () => {
  const heads = { numKvHeads: 1, headDim: 1 };
  const window = { kind: "sliding_window", window: 4, ...heads } as const;
  const groups = [{ kind: "full", ...heads } as const, window];
  const rig = new SchedulerRig({ ...TIGHT, numBlocks: 20, groups });
  const numNeeded = rig.blocks.numSlabsOf(TIGHT.maxModelLen);
  const message = `one sequence of 8 tokens takes ${numNeeded} slabs in blocks of 2, shared by 2`;
  assertThrows(() => rig.resize(numNeeded - 1), RequestError, message);
});

Deno.test("PoolSizing.resize() is not for a step in flight", () => {
  const rig = new SchedulerRig(TIGHT);
  rig.add(requestOf("a", 4));
  rig.step(() => assertThrows(() => rig.scheduler.pool.resize(9), Error, "in flight"));
});

Deno.test("PoolSizing.resize() counts the cached blocks that a smaller pool has no room for", () => {
  const rig = new SchedulerRig({ ...TIGHT, numBlocks: 8, maxModelLen: 6, prefixCache: {} });
  for (let i = 0; i < 3; i++) {
    const prompt = Uint32Array.of(i, i, i, i);
    const { sequences } = requestOf("", 1, { maxTokens: 1 });
    rig.add({ id: `r${i}`, sequences: [{ ...sequences[0]!, prompt }] });
    rig.finish();
  }
  const { numCachedBlocks } = rig.scheduler.stats;
  rig.resize(3);
  const { numEvictedBlocks, numShrinkEvictedBlocks } = rig.scheduler.stats;
  assertEquals([numEvictedBlocks, numShrinkEvictedBlocks], [
    numCachedBlocks - 3,
    numCachedBlocks - 3,
  ]);
});
