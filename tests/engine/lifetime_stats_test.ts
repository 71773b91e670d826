import { assertEquals } from "@std/assert";
import { LifetimeStats } from "../../src/engine/lifetime_stats.ts";
import { statsAfter } from "../support/fake_worker.ts";

Deno.test("LifetimeStats is all zeros before the first step", () => {
  assertEquals(new Set(Object.values(new LifetimeStats().current)), new Set([0]));
});

Deno.test("LifetimeStats has the free pool of an isolate that is ready, before its first step", () => {
  const stats = new LifetimeStats();
  stats.beginIsolate(32);
  const { numBlocks, numFreeBlocks, numSteps } = stats.current;
  assertEquals([numBlocks, numFreeBlocks, numSteps], [32, 32, 0]);
  stats.update(statsAfter(3));
  stats.endIsolate();
  stats.beginIsolate(16);
  const later = stats.current;
  assertEquals([later.numBlocks, later.numFreeBlocks, later.numSteps], [16, 16, 3]);
});

Deno.test("LifetimeStats is what was posted last, in the first isolate", () => {
  const stats = new LifetimeStats();
  stats.update(statsAfter(1));
  stats.update(statsAfter(3));
  assertEquals(stats.current, statsAfter(3));
});

Deno.test("LifetimeStats empties the gauges and keeps the counters when the isolate ends", () => {
  const stats = new LifetimeStats();
  stats.update(statsAfter(3));
  stats.endIsolate();
  assertEquals(stats.current, {
    ...statsAfter(3),
    numRunning: 0,
    numWaiting: 0,
    numDeferred: 0,
    numFreeBlocks: 32,
    numCachedBlocks: 0,
    numPinnedBlocks: 0,
    numSwapped: 0,
    numUsedSwapBlocks: 0,
  });
});

Deno.test("LifetimeStats adds the counters of every isolate, and not its gauges", () => {
  const stats = new LifetimeStats();
  for (const numSteps of [3, 4]) {
    stats.update(statsAfter(1));
    stats.update(statsAfter(numSteps));
    stats.endIsolate();
  }
  stats.update(statsAfter(5));
  assertEquals(stats.current, statsAfter(3 + 4 + 5));
});
