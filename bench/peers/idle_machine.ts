/** Length of one look at the processors, ms; the kernel counts in steps of 10. */
const LOOK_MS = 150;
/** A machine that is busier than this is not quiet. */
const QUIET = 0.1;

/**
 * Waits until other work leaves the processors alone, at most `patienceMs`, and returns the share of
 * them that was busy at the last look, from 0 to 1; NaN where that cannot be seen (it is Linux's).
 *
 * Call it while one's own processes are idle.
 */
export async function waitForIdleMachine(patienceMs: number): Promise<number> {
  const giveUp = performance.now() + patienceMs;
  for (;;) {
    const before = processorTimes();
    if (before === undefined) return NaN;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    const after = processorTimes()!;
    const busy = 1 - (after.idle - before.idle) / Math.max(1, after.total - before.total);
    if (busy <= QUIET || performance.now() >= giveUp) return busy;
  }
}

/** Ticks of all processors since the machine started. */
function processorTimes(): { idle: number; total: number } | undefined {
  try {
    return parseProcessorTimes(Deno.readTextFileSync("/proc/stat"));
  } catch {
    return undefined;
  }
}

/** The sums in the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal. */
export function parseProcessorTimes(stat: string): { idle: number; total: number } {
  const ticks = stat.slice(0, stat.indexOf("\n")).trim().split(/\s+/).slice(1, 9).map(Number);
  const total = ticks.reduce((sum, count) => sum + count, 0);
  return { idle: ticks[3]! + ticks[4]!, total };
}
