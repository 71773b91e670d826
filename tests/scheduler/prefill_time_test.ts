import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { digitsOf } from "../../src/core/step_bounds.ts";
import { PrefillTime } from "../../src/scheduler/prefill_time.ts";
import { requestOf } from "../support/requests.ts";
import { chunksOf, SchedulerRig } from "../support/scheduler_rig.ts";

/** 40 tokens of contexts below 32, 20 of those below 64, 10 of longer ones. */
const LIMITS = [40, 40, 40, 40, 40, 40, 20, 10];

Deno.test("PrefillTime.fit() allows what the context at the chunk's end has time for", () => {
  const fit = (start: number, count: number) => new PrefillTime(LIMITS, 2).fit(start, count);
  assertEquals([fit(0, 8), fit(0, 31), fit(0, 40)], [8, 31, 31]);
  // 31 tokens end where more digits begin, and of those there would be 20.
  assertEquals([fit(0, 1000), fit(20, 1000), fit(40, 1000)], [31, 20, 20]);
  assertEquals([fit(50, 1000), fit(63, 1000), fit(5000, 1000)], [13, 10, 10]);
});

Deno.test("PrefillTime shares a step among prompts in proportion, each of which gets one token", () => {
  const time = new PrefillTime(LIMITS, 2);
  time.take(0, 20);
  assertEquals([time.fit(0, 100), time.fit(30, 100), time.fit(100, 100)], [20, 10, 5]);
  time.take(100, 4);
  assertEquals([time.fit(0, 100), time.isSpent], [4, false]);
  // A decode takes none of it.
  time.take(10, 1);
  assertEquals(time.fit(0, 100), 4);
  time.take(0, 10);
  assertEquals([time.fit(0, 100), time.fit(0, 0), time.isSpent], [1, 0, true]);
});

Deno.test("PrefillTime gives the first prompt of a step its least, whatever it takes", () => {
  const time = new PrefillTime([1], 16);
  assertEquals([time.fit(0, 100), time.fit(9, 7)], [16, 7]);
  time.take(0, 16);
  assertEquals([time.fit(0, 100), time.isSpent], [1, true]);
});

Deno.test("PrefillTime.fit() never takes more time than is left, but for the least", () => {
  const limits = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 12 })
    .map((some) => some.toSorted((a, b) => b - a));
  fc.assert(
    fc.property(limits, fc.nat(3000), fc.integer({ min: 1, max: 400 }), (all, start, count) => {
      const fitted = new PrefillTime(all, 1).fit(start, count);
      assert(fitted >= 1 && fitted <= count);
      const limit = all[Math.min(digitsOf(start + fitted), all.length - 1)]!;
      assert(fitted === 1 || fitted <= limit, `${fitted} of ${limit}`);
      if (fitted === count) return;
      const next = all[Math.min(digitsOf(start + fitted + 1), all.length - 1)]!;
      assert(fitted + 1 > next, `${fitted} fit, and ${next} would`);
    }),
    { seed: 3 },
  );
});

Deno.test("Scheduler cuts prompts to the time of a step, and decodes beside them", () => {
  const rig = new SchedulerRig({ blockSize: 4 });
  rig.bounds = { maxPrefillTokens: [10, 10, 10, 10, 10, 5] };
  rig.add(requestOf("a", 2, { maxTokens: 100 }), requestOf("b", 30, { maxTokens: 2 }));
  // Of 10 tokens, 2 are taken; of contexts of 16 there are 5 at most.
  assertEquals(chunksOf(rig.step()), [[0, 0, 2], [1, 0, 8]]);
  assertEquals(chunksOf(rig.step()), [[0, 2, 1], [1, 8, 7]]);
  assertEquals(chunksOf(rig.step()), [[0, 3, 1], [1, 15, 5]]);
  rig.bounds = { maxPrefillTokens: [1] };
  // No less than a block, so that it gets on.
  assertEquals(chunksOf(rig.step()), [[0, 4, 1], [1, 20, 4]]);
  rig.bounds = {};
  assertEquals(chunksOf(rig.step()), [[0, 5, 1], [1, 24, 6]]);
});

Deno.test("Scheduler admits nobody into a step whose time for prompts is taken", () => {
  const rig = new SchedulerRig({ blockSize: 2 });
  rig.bounds = { maxPrefillTokens: [3] };
  rig.add(...["a", "b", "c"].map((id) => requestOf(id, 3, { maxTokens: 2 })));
  assertEquals(chunksOf(rig.step()), [[0, 0, 3]]);
  assertEquals(chunksOf(rig.step()), [[0, 3, 1], [1, 0, 3]]);
});
