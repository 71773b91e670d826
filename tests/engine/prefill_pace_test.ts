import { assert, assertEquals } from "@std/assert";
import type { ScheduledChunk } from "../../src/core/batch.ts";
import { digitsOf } from "../../src/core/step_bounds.ts";
import { PrefillPace } from "../../src/engine/prefill_pace.ts";
import { PrefillTime } from "../../src/scheduler/prefill_time.ts";

function chunkOf(start: number, count: number): ScheduledChunk {
  return { sequenceId: 0, tokens: new Uint32Array(count), start, blockTables: [[]] };
}

const OPTIONS = { maxMs: 1000, maxTokens: 512 };

Deno.test("PrefillPace begins with few tokens, and learns how many fit from their time", () => {
  const pace = new PrefillPace(OPTIONS);
  assertEquals(pace.maxTokens, [64]);
  pace.observe([chunkOf(0, 64)], 640);
  // 64 has 7 digits: 100 tokens of such contexts, and fewer of longer ones, which are not known.
  assertEquals(pace.maxTokens!.slice(0, 9), [100, 100, 100, 100, 100, 100, 100, 100, 94]);
  const { length } = pace.maxTokens!;
  assert(length > 17 && pace.maxTokens![17]! < 3);
});

Deno.test("PrefillPace limits nothing where the largest step is short", () => {
  const pace = new PrefillPace(OPTIONS);
  pace.observe([chunkOf(0, 64)], 0.1);
  assertEquals(pace.maxTokens, undefined);
  // What is shorter anyway needs no first step.
  assertEquals(new PrefillPace({ maxMs: 1000, maxTokens: 16 }).maxTokens, undefined);
});

Deno.test("PrefillPace learns of contexts by themselves, of steps of few tokens only that less is possible", () => {
  const pace = new PrefillPace(OPTIONS);
  pace.observe([chunkOf(0, 100)], 400);
  pace.observe([chunkOf(900, 100)], 800);
  const limitOf = (context: number) => pace.maxTokens![digitsOf(context)];
  assertEquals([limitOf(100), limitOf(1000)], [250, 125]);
  pace.observe([chunkOf(70, 50)], 50 * 40);
  assertEquals(limitOf(100), 250);
  pace.observe([chunkOf(70, 50)], 50 * 2);
  assertEquals(limitOf(100), Math.floor(1000 / 3));
  // Decodes are no prompts, and those beside one count for it.
  pace.observe([chunkOf(100, 1)], 5000);
  assertEquals(limitOf(101), Math.floor(1000 / 3));
  // What is as large as can be is believed, by half.
  pace.observe([chunkOf(0, 127)], 127 * 9);
  assertEquals(limitOf(127), Math.floor(1000 / 6));
});

/**
 * Computes a prompt on a device that takes so long per token and per pair; the time of each step.
 */
function timesOf(pace: PrefillPace, length: number, tokenMs: number, pairMs: number): number[] {
  const times: number[] = [];
  for (let start = 0; start < length;) {
    const limits = pace.maxTokens;
    const most = Math.min(512, length - start);
    const count = limits === undefined ? most : new PrefillTime(limits, 16).fit(start, most);
    const deviceMs = 30 + count * (tokenMs + pairMs * (start + count / 2));
    pace.observe([chunkOf(start, count)], deviceMs);
    times.push(deviceMs);
    start += count;
  }
  return times;
}

Deno.test("PrefillPace keeps steps below their time on slow devices and in long contexts, and uses most of it", () => {
  for (
    const [tokenMs, pairMs] of [[4, 0.0001], [1.5, 0.002], [8, 0.0004], [0.05, 0.0001]] as const
  ) {
    const pace = new PrefillPace(OPTIONS);
    const numTokens = 20_000;
    const first = timesOf(pace, numTokens, tokenMs, pairMs);
    const again = timesOf(pace, numTokens, tokenMs, pairMs);
    const longest = Math.max(...first, ...again);
    assert(longest <= 1300, `${tokenMs}, ${pairMs}: a step takes ${longest} ms`);
    // Short of a step of 512 tokens, which is the most there may be.
    const even = again.reduce((sum, ms) => sum + ms, 0) / again.length;
    const isWhole = again.length <= Math.ceil(numTokens / 512) + 2;
    assert(even > 500 || isWhole, `${tokenMs}, ${pairMs}: steps take ${even} ms`);
  }
});
