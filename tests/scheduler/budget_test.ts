import { assert, assertEquals } from "@std/assert";
import type { KvDecision, WaitCause } from "../../src/core/kv_decision.ts";
import { requestOf } from "../support/requests.ts";
import { chunksOf, SchedulerRig } from "../support/scheduler_rig.ts";

/** Numbers of tokens of a step's chunks. */
function counts(rig: SchedulerRig): number[] {
  return chunksOf(rig.step()).map(([, , count]) => count!);
}

Deno.test("three prompts of 800 in a budget of 1024 with a threshold of 400 take 400, 400, 224, twice, and then 1, 1, 352", () => {
  const rig = new SchedulerRig({
    ...{ numBlocks: 2000, maxNumBatchedTokens: 1024, maxModelLen: 2000 },
    ...{ longPrefillTokenThreshold: 400, maxLongPartialPrefills: 3 },
  });
  rig.add(...["a", "b", "c"].map((id) => requestOf(id, 800)));
  assertEquals(counts(rig), [400, 400, 224]);
  assertEquals(counts(rig), [400, 400, 224]);
  assertEquals(counts(rig), [1, 1, 352]);
});

Deno.test("a long prompt that is alone takes the whole budget, and leaves the rest to a short one that comes", () => {
  const rig = new SchedulerRig({ maxNumBatchedTokens: 64, longPrefillTokenThreshold: 16 });
  rig.add(requestOf("long", 300));
  assertEquals(counts(rig), [64]);
  assertEquals(counts(rig), [64]);
  rig.add(requestOf("short", 10, { maxTokens: 1 }));
  assertEquals(counts(rig), [16, 10]);
  assertEquals(rig.endOf("short")?.finishReason, "length", "the first step that it can be in");
  assertEquals(counts(rig), [64]);
});

Deno.test("as many long prompts as may be are computed at a time, and short ones pass those that wait", () => {
  const waits: (KvDecision & WaitCause)[] = [];
  const rig = new SchedulerRig({
    ...{ maxNumBatchedTokens: 64, longPrefillTokenThreshold: 16, maxLongPartialPrefills: 1 },
    onDecision: (decision) => decision.type === "wait" && waits.push(decision),
  });
  rig.add(requestOf("a", 50), requestOf("b", 40), requestOf("c", 5));
  assertEquals(chunksOf(rig.step()), [[0, 0, 16], [2, 0, 5]]);
  const [wait] = waits;
  assert(wait?.reason === "long_prefills");
  assertEquals([wait.sequenceId, wait.numLong, wait.limit, wait.threshold], [1, 1, 1, 16]);
  assertEquals(chunksOf(rig.step()), [[0, 16, 16], [2, 5, 1]]);
  // The rest of the first is none that would keep others.
  assertEquals(chunksOf(rig.step()), [[0, 32, 16], [2, 6, 1]]);
  assertEquals(chunksOf(rig.step()), [[0, 48, 2], [2, 7, 1], [1, 0, 16]]);
});

Deno.test("every running answer has its token before any prompt, whatever the order", () => {
  const rig = new SchedulerRig({ maxNumSeqs: 4, maxNumBatchedTokens: 8 });
  rig.add(requestOf("a", 1), requestOf("b", 1), requestOf("long", 30));
  rig.step();
  rig.add(requestOf("c", 1));
  for (let i = 0; i < 3; i++) {
    const chunks = chunksOf(rig.step());
    assertEquals(chunks.slice(0, 2).map(([, , count]) => count), [1, 1]);
    assertEquals(chunks[2]![2], 6);
  }
});

Deno.test("a request that came back is not preempted again until it has 64 more tokens", () => {
  const ids = ["a", "b", "c", "d", "e"];
  /** By request, how many tokens it had drawn at each of its preemptions. */
  const drawnAt = new Map<string, number[]>(ids.map((id) => [id, []]));
  const rig: SchedulerRig = new SchedulerRig({
    // Hardly any growth is expected, so that some are preempted.
    ...{ numBlocks: 60, blockSize: 16, scheduleConservativeness: 0.02 },
    onDecision: ({ type, sequenceId }) => {
      const id = ids[sequenceId!]!;
      if (type === "preempt") drawnAt.get(id)!.push(rig.tokensOf(id).length);
    },
  });
  rig.add(...ids.map((id) => requestOf(id, 60, { maxTokens: 400 })));
  rig.finish(5000);
  const numTimes = [...drawnAt.values()].map(({ length }) => length);
  assert(Math.max(...numTimes) >= 2, `preempted ${numTimes} times`);
  for (const drawn of drawnAt.values()) {
    drawn.slice(1).forEach((count, i) => assert(count - drawn[i]! >= 64, `preempted at ${drawn}`));
  }
  assertEquals(ids.map((id) => rig.tokensOf(id).length), ids.map(() => 400));
  const { numRecomputedTokens } = rig.scheduler.stats;
  const numComputed = rig.runner.batches.reduce((sum, { numTokens }) => sum + numTokens, 0);
  assertEquals(numComputed, ids.length * (60 + 399) + numRecomputedTokens);
  assert(numRecomputedTokens > 0);
});
