import { assertEquals } from "@std/assert";
import type { Batch } from "../../src/core/batch.ts";
import { StepPace } from "../../src/engine/step_pace.ts";

/** A plan of one decode with so many steps, or of a chunk of `numTokens`. */
function planOf(numDecodeSteps: number, numTokens = 1): Batch {
  const chunk = { sequenceId: 0, tokens: new Uint32Array(numTokens), start: 4, blockTables: [[0]] };
  return {
    step: 0,
    chunks: [numDecodeSteps === 1 ? chunk : { ...chunk, numDecodeSteps }],
    numTokens,
  };
}

/**
 * The steps that are planned after plans that always take such times, by one and then the other.
 */
function paceOf(numDecodeSteps: number, deviceMs: number, hostMs: number): number | undefined {
  const pace = new StepPace();
  for (let i = 0; i < 100; i++) pace.observe(planOf(numDecodeSteps), { deviceMs, hostMs });
  return pace.bounds.maxDecodeSteps;
}

Deno.test("StepPace plans one decode at a time until it has seen one", () => {
  const pace = new StepPace();
  assertEquals(pace.bounds.maxDecodeSteps, 1);
  pace.observe(planOf(1, 64), { deviceMs: 2, hostMs: 1 });
  assertEquals(pace.bounds.maxDecodeSteps, 1);
  pace.observe(planOf(1), { deviceMs: 2, hostMs: 1 });
  assertEquals(pace.bounds.maxDecodeSteps, 8);
});

Deno.test("StepPace plans as many decodes as make the host's share small, within 50 ms and 8 steps", () => {
  // Of 4 ms, 1 % is 0.04 ms.
  assertEquals([0.03, 0.07, 0.1, 0.2, 1].map((hostMs) => paceOf(1, 4, hostMs)), [1, 2, 4, 8, 8]);
  assertEquals([9, 20, 25.1, 60].map((deviceMs) => paceOf(1, deviceMs, 9)), [4, 2, 1, 1]);
  // The time of several steps is that of all of them.
  assertEquals([paceOf(8, 32, 0.1), paceOf(4, 80, 9)], [4, 2]);
  assertEquals(paceOf(1, 0, 0.1), 8);
});

Deno.test("StepPace keeps to a number of steps that is nearly right", () => {
  const pace = new StepPace();
  const after = (hostMs: number) => {
    for (let i = 0; i < 100; i++) pace.observe(planOf(1), { deviceMs: 4, hostMs });
    return pace.bounds.maxDecodeSteps;
  };
  // Up to 4 * 1.25 times, and down to 4 * 0.4 times 0.04 ms.
  assertEquals([after(0.1), after(0.19), after(0.07), after(0.06)], [4, 4, 4, 2]);
  assertEquals([after(0.09), after(0.11), after(0.21)], [2, 4, 8]);
});

Deno.test("StepPace follows a device that has become slower", () => {
  const pace = new StepPace();
  for (let i = 0; i < 50; i++) pace.observe(planOf(8), { deviceMs: 16, hostMs: 1 });
  assertEquals(pace.bounds.maxDecodeSteps, 8);
  for (let i = 0; i < 50; i++) pace.observe(planOf(1), { deviceMs: 40, hostMs: 1 });
  assertEquals(pace.bounds.maxDecodeSteps, 1);
});
