import { cpuUsage } from "node:process";
import type { Device, Program } from "../src/device/device.ts";
import type { DeviceBuffer, KernelCall } from "../src/device/kernel.ts";

/** How long one measured run should take, ms: much longer than a submission, shorter than a watchdog. */
const RUN_MS = 60;
/** Most dispatches in one run. */
const MAX_DISPATCHES = 2000;
/** A figure is the best of so many runs: other work on the machine only ever slows one down. */
const REPEATS = 5;

/** What is timed: calls that run one after the other, with the sizes of one step. */
export interface TimedCalls<Dims> {
  readonly calls: readonly KernelCall<Dims>[];
  readonly dims: Dims;
  /** Any buffer the device can read a word of. */
  readonly readFrom: DeviceBuffer;
}

/**
 * Seconds the device takes for all of the calls once.
 *
 * Runs many passes in one submission and takes off what a submission without calls costs; the cost of
 * the dispatches themselves remains, as it does in a step.
 */
export async function timeCalls<Dims>(
  device: Device,
  { calls, dims, readFrom }: TimedCalls<Dims>,
): Promise<number> {
  const time = async (passes: number) => {
    const program = await device.compile(Array.from({ length: passes }, () => calls).flat());
    // What drivers compile at first use is compiled here.
    await device.run(program, dims, { buffer: readFrom, bytes: 4 });
    return await best(device, program, dims, readFrom);
  };
  const overhead = await time(0);
  const single = await time(1);
  const most = Math.max(1, Math.floor(MAX_DISPATCHES / calls.length));
  const passes = Math.min(most, Math.ceil(RUN_MS / 1000 / single));
  const train = passes === 1 ? single : await time(passes);
  return Math.max(train - overhead, train / 2) / passes;
}

async function best<Dims>(
  device: Device,
  program: Program<Dims>,
  dims: Dims,
  readFrom: DeviceBuffer,
): Promise<number> {
  let seconds = Infinity;
  for (let i = 0; i < REPEATS; i++) {
    const began = performance.now();
    await device.run(program, dims, { buffer: readFrom, bytes: 4 });
    seconds = Math.min(seconds, (performance.now() - began) / 1000);
  }
  return seconds;
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
