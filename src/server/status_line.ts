import type { EngineStats } from "../core/engine_stats.ts";

/** Pause between two lines, ms. */
const PAUSE_MS = 5000;

/** What a busy engine did between two looks at its statistics, in one line. */
export function statusText(before: EngineStats, now: EngineStats, seconds: number): string {
  const perSecond = (from: number, to: number) => Math.max(0, (to - from) / seconds).toFixed(1);
  const numInUse = now.numBlocks - now.numFreeBlocks - now.numCachedBlocks;
  const numQueried = now.numQueriedTokens - before.numQueriedTokens;
  const hits = now.numHitTokens - before.numHitTokens;
  const preempted = now.numPreemptions - before.numPreemptions;
  return [
    `${now.numRunning} running, ${now.numWaiting} waiting`,
    `${perSecond(before.numGeneratedTokens, now.numGeneratedTokens)} tokens/s written`,
    `${perSecond(before.numComputedPromptTokens, now.numComputedPromptTokens)} tokens/s read`,
    `KV ${percent(numInUse / Math.max(1, now.numBlocks))} in use`,
    ...(numQueried > 0 ? [`prefix hits ${percent(hits / numQueried)}`] : []),
    ...(preempted > 0 ? [`${preempted} preempted`] : []),
  ].join(", ");
}

/**
 * Shows a line every few seconds while requests run or wait; idle, nothing.
 *
 * @returns ends it.
 */
export function watchStatus(
  stats: () => EngineStats,
  show: (line: string) => void,
  pauseMs = PAUSE_MS,
): () => void {
  let before = stats();
  let beganMs = performance.now();
  const timer = setInterval(() => {
    const now = stats();
    const nowMs = performance.now();
    if (now.numRunning + now.numWaiting > 0) {
      show(statusText(before, now, (nowMs - beganMs) / 1000));
    }
    before = now;
    beganMs = nowMs;
  }, pauseMs);
  // The door keeps the process alive, and nothing else has to.
  Deno.unrefTimer(timer);
  return () => clearInterval(timer);
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
