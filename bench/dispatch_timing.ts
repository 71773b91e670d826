import { cpuUsage } from "node:process";
import type { Device } from "../src/device/device.ts";
import { timeCandidates, type TimedCalls, type TimingOptions } from "../src/runner/call_timing.ts";

/** A run is much longer than a submission, and shorter than a watchdog. */
export const CAREFUL: TimingOptions = { runMs: 60, numRounds: 5 };
/** Proves that the calls run; what they take is no figure to keep. */
export const ONCE: TimingOptions = { runMs: 0, numRounds: 1 };

/** Seconds the device takes for all of the calls once, dispatches included. */
export async function timeCalls<Dims>(
  device: Device,
  timed: TimedCalls<Dims>,
  effort: TimingOptions,
): Promise<number> {
  const [seconds] = await timeCandidates(device, [timed], effort);
  return seconds!;
}

/**
 * Milliseconds of processor time that a software adapter takes for all of the calls once, its threads
 * together: a figure that other work on the machine hardly disturbs.
 */
export async function processorMs<Dims>(
  device: Device,
  { calls, dims, readFrom }: TimedCalls<Dims>,
  { numRounds }: TimingOptions,
): Promise<number> {
  const program = await device.compile(calls);
  await device.run(program, dims, { buffer: readFrom, bytes: 4 });
  let least = Infinity;
  for (let i = 0; i < numRounds; i++) {
    const before = cpuUsage();
    await device.run(program, dims, { buffer: readFrom, bytes: 4 });
    const { user, system } = cpuUsage(before);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}
