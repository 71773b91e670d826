import { cpuUsage } from "node:process";
import type { Device } from "../src/device/device.ts";
import { timeCandidates, type TimedCalls } from "../src/runner/call_timing.ts";

/** How long one measured run should take, ms: much longer than a submission, shorter than a watchdog. */
const RUN_MS = 60;
/** A figure is the best of so many runs: other work on the machine only ever slows one down. */
const REPEATS = 5;

/** Seconds the device takes for all of the calls once, dispatches included. */
export async function timeCalls<Dims>(
  device: Device,
  timed: TimedCalls<Dims>,
): Promise<number> {
  const [seconds] = await timeCandidates(device, [timed], { runMs: RUN_MS, numRounds: REPEATS });
  return seconds!;
}

/**
 * Milliseconds of processor time that a software adapter takes for all of the calls once, its threads
 * together: a figure that other work on the machine hardly disturbs.
 */
export async function processorMs<Dims>(
  device: Device,
  { calls, dims, readFrom }: TimedCalls<Dims>,
): Promise<number> {
  const program = await device.compile(calls);
  await device.run(program, dims, { buffer: readFrom, bytes: 4 });
  let least = Infinity;
  for (let i = 0; i < REPEATS; i++) {
    const before = cpuUsage();
    await device.run(program, dims, { buffer: readFrom, bytes: 4 });
    const { user, system } = cpuUsage(before);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}
