import { assertEquals } from "@std/assert";
import { type EngineStats, zeroStats } from "../../src/core/engine_stats.ts";
import { statusText, watchStatus } from "../../src/server/status_line.ts";

const BEFORE: EngineStats = {
  ...zeroStats(),
  numBlocks: 100,
  numFreeBlocks: 100,
  numGeneratedTokens: 50,
  numQueriedTokens: 1000,
  numHitTokens: 900,
};
const NOW: EngineStats = {
  ...BEFORE,
  numRunning: 3,
  numWaiting: 2,
  numFreeBlocks: 25,
  numCachedBlocks: 15,
  numGeneratedTokens: 150,
  numComputedPromptTokens: 30,
  numQueriedTokens: 1400,
  numHitTokens: 1000,
};

Deno.test("statusText() says what happened since the last look, not since the start", () => {
  assertEquals(
    statusText(BEFORE, NOW, 2),
    "3 running, 2 waiting, 50.0 tokens/s written, 15.0 tokens/s read, KV 60 % in use, " +
      "prefix hits 25 %",
  );
  const preempted = statusText(NOW, { ...NOW, numPreemptions: 1 }, 2);
  assertEquals(preempted.endsWith("KV 60 % in use, 1 preempted"), true, preempted);
});

Deno.test("watchStatus() shows lines while there is work, and none while there is none", async () => {
  const looks = [BEFORE, BEFORE, NOW, BEFORE, BEFORE];
  let numLooks = 0;
  const lines: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const end = watchStatus(
    () => {
      if (numLooks === looks.length - 1) resolve();
      return looks[numLooks++] ?? BEFORE;
    },
    (line) => lines.push(line),
    1,
  );
  // Unreferenced timers of the watch do not keep the test alive by themselves.
  const keepAlive = setInterval(() => {}, 1000);
  await promise;
  clearInterval(keepAlive);
  end();
  assertEquals(lines.map((line) => line.slice(0, 20)), ["3 running, 2 waiting"]);
});
