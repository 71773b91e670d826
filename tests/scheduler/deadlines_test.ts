import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { requestOf } from "../support/requests.ts";
import { chunksOf, SchedulerRig } from "../support/scheduler_rig.ts";

Deno.test("a request that waits past its timeout ends with 504 and has cost no position and no block", () => {
  const rig = new SchedulerRig({ maxNumSeqs: 1, prefixCache: { policy: "lru" } });
  rig.add(requestOf("a", 3, { maxTokens: 20 }));
  rig.nowMs = 1000;
  rig.add({ ...requestOf("b", 5), timeoutMs: 2500 });
  for (rig.nowMs = 1000; rig.nowMs < 3500; rig.nowMs += 500) {
    assertEquals(chunksOf(rig.step()).map(([id]) => id), [0]);
    assertEquals(rig.endOf("b"), undefined, "its time has not come");
  }
  rig.step();
  const { finishReason, error } = rig.endOf("b")!;
  assertEquals([finishReason, error?.status, error?.code], ["error", 504, "deadline_exceeded"]);
  assertEquals(error?.details, { timeout_seconds: 2.5, n_tokens: 0 });
  assertStringIncludes(error!.message, "2.5 s has passed while the request waited in the queue");
  const { numWaiting, numTimeouts, numQueriedTokens } = rig.scheduler.stats;
  assertEquals([numWaiting, numTimeouts, numQueriedTokens], [0, 1, 3], "it was not looked up");
  rig.finish();
  assertEquals(rig.tokensOf("a").length, 20);
});

Deno.test("a request that runs past its timeout keeps what it has drawn and gives its blocks back at once", () => {
  const rig = new SchedulerRig();
  rig.add({ ...requestOf("a", 3, { maxTokens: 20 }), timeoutMs: 10 }, requestOf("b", 1));
  rig.step();
  rig.step();
  rig.nowMs = 10;
  assertEquals(chunksOf(rig.step()).map(([id]) => id), [1]);
  assertEquals([rig.tokensOf("a").length, rig.endOf("a")?.error?.details?.n_tokens], [2, 2]);
  assertEquals(rig.blocks.numSequences, 1);
});

Deno.test("the deadlines of those that have ended are forgotten, in any order", () => {
  const rig = new SchedulerRig();
  for (const [i, timeoutMs] of [30, 10, 20, 10].entries()) {
    rig.add({ ...requestOf(`r${i}`, 1, { maxTokens: i + 1 }), timeoutMs });
  }
  rig.finish();
  rig.nowMs = 100;
  rig.add({ ...requestOf("late", 1), timeoutMs: 1 });
  rig.finish();
  assertEquals(rig.events.filter(({ error }) => error !== undefined), []);
  assertEquals(rig.scheduler.stats.numTimeouts, 0);
});

Deno.test("a request that is aborted while it waits is never looked up, planned or given a block", () => {
  const rig = new SchedulerRig({ maxNumSeqs: 1, prefixCache: { policy: "lru" } });
  rig.add(requestOf("a", 2, { maxTokens: 6 }), requestOf("b", 40), requestOf("c", 1));
  rig.step();
  const before = rig.scheduler.stats;
  rig.scheduler.abort("b");
  const after = rig.scheduler.stats;
  assertEquals({ ...after, numWaiting: 2 }, before, "nothing but its place has changed");
  rig.finish();
  assert(
    rig.runner.batches.every(({ chunks }) => chunks.every(({ sequenceId }) => sequenceId !== 1)),
  );
  assertEquals(rig.scheduler.stats.numQueriedTokens, 3);
});

Deno.test("a full queue says when to come again by how fast it moves", () => {
  const rig = new SchedulerRig({ maxNumSeqs: 1, maxNumQueuedSeqs: 4 });
  for (let i = 0; i < 4; i++) rig.add(requestOf(`r${i}`, 1, { maxTokens: 2 }));
  // Each takes two steps of three seconds.
  for (let i = 0; i < 4; i++, rig.nowMs += 3000) rig.step();
  const refusal = (count: number) => {
    try {
      const [sequence] = requestOf("x", 1).sequences;
      rig.add({ id: "x", sequences: Array(count).fill(sequence) });
    } catch (error) {
      return (error as { data: { details: Record<string, number> } }).data.details;
    }
  };
  rig.add(requestOf("r4", 1), requestOf("r5", 1));
  assertEquals(refusal(1), { n_waiting: 4, n_asked: 1, limit: 4, retry_after_seconds: 12 });
  assertEquals(refusal(3)?.retry_after_seconds, 36);
  rig.nowMs += 12_000;
  assertEquals(refusal(1)?.retry_after_seconds, 24, "it has stood still since");
});
