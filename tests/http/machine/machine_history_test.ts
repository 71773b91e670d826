import { assertEquals } from "@std/assert";
import { zeroStats } from "../../../src/core/engine_stats.ts";
import { MachineHistory } from "../../../src/http/machine/machine_history.ts";

Deno.test("MachineHistory makes a moment of each second, with rates, shares and quantiles", () => {
  const history = new MachineHistory();
  const before = { ...zeroStats(), numBlocks: 100, numFreeBlocks: 100 };
  assertEquals(history.update(before, 1000), undefined);
  assertEquals(history.update(before, 1900), undefined);
  for (const ms of [10, 20, 30, 40]) history.observe("next_token", ms / 1000);
  const stats = {
    ...before,
    numGeneratedTokens: 50,
    numComputedPromptTokens: 20,
    numQueriedTokens: 40,
    numHitTokens: 30,
    numFreeBlocks: 60,
    numCachedBlocks: 15,
    numRunning: 3,
    numWaiting: 1,
  };
  assertEquals(history.update(stats, 3000), {
    time_ms: 3000,
    ttft_p50_ms: null,
    ttft_p95_ms: null,
    inter_token_p50_ms: 20,
    inter_token_p95_ms: 40,
    generated_per_s: 25,
    prompt_per_s: 10,
    cached_per_s: 15,
    running: 3,
    waiting: 1,
    hit_rate: 0.75,
    in_use: 0.25,
    cached: 0.15,
  });
  assertEquals(history.update(stats, 4000)?.inter_token_p50_ms, null);
  assertEquals(history.moments.length, 2);
});

Deno.test("MachineHistory counts nothing of the time in which nobody watched, and is bounded", () => {
  const history = new MachineHistory();
  history.update(zeroStats(), 0);
  history.observe("first_token", 9);
  history.begin();
  const stats = { ...zeroStats(), numGeneratedTokens: 1000 };
  assertEquals(history.update(stats, 60_000), undefined);
  assertEquals(history.update(stats, 61_000)?.generated_per_s, 0);
  assertEquals(history.moments[0]!.ttft_p50_ms, null);
  for (let second = 62; second < 2000; second++) history.update(stats, 1000 * second);
  assertEquals(history.moments.length, 900);
});
