import { assert, assertEquals } from "@std/assert";
import { requestOf } from "../support/requests.ts";
import { SchedulerRig } from "../support/scheduler_rig.ts";

/** Answers of 20 tokens, of which a pool of 40 blocks holds a few at a time. */
function serveAnswers(rig: SchedulerRig): readonly number[] {
  const before = rig.runner.batches.length;
  for (let i = 0; i < 8; i++) rig.add(requestOf(`answer ${i}`, 4, { maxTokens: 20 }));
  rig.finish();
  return rig.runner.batches.slice(before).map(({ chunks }) => chunks.length);
}

Deno.test("an admission leaves over what answers are expected to grow by", () => {
  const sizes = { numBlocks: 40, scheduleConservativeness: 1 };
  const rig = new SchedulerRig(sizes);
  const numRunning = serveAnswers(rig);
  assertEquals([Math.max(...numRunning), rig.scheduler.stats.numPreemptions], [4, 0]);
  const hasty = new SchedulerRig({ ...sizes, scheduleConservativeness: 0 });
  assertEquals(Math.max(...serveAnswers(hasty)), 8);
  assert(hasty.scheduler.stats.numPreemptions > 0);
});

Deno.test("a reheat says nothing about the lengths of answers", () => {
  const sizes = { numBlocks: 40, scheduleConservativeness: 1 };
  const rig = new SchedulerRig(sizes);
  for (let i = 0; i < 300; i++) {
    rig.add({ ...requestOf(`reheat ${i}`, 4, { maxTokens: 1 }), isReheat: true });
  }
  rig.finish();
  assertEquals(serveAnswers(rig), serveAnswers(new SchedulerRig(sizes)));
});
