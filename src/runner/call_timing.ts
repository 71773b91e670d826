import type { Device, Program } from "../device/device.ts";
import type { DeviceBuffer, KernelCall } from "../device/kernel.ts";

/** Calls to time, one after the other, with the dimensions of one step. */
export interface TimedCalls<Dims> {
  readonly calls: readonly KernelCall<Dims>[];
  readonly dims: Dims;
  /** Any buffer the device can read a word of. */
  readonly readFrom: DeviceBuffer;
  /** Is called before each run and not timed, such as to write the step's metadata. */
  readonly prepare?: () => void;
}

/** How long and how often calls run to be timed. */
export interface TimingOptions {
  /** How long one run should take, ms: much longer than a submission, shorter than a watchdog. */
  readonly runMs: number;
  /** A figure is the best of so many runs: other work on the machine only ever slows one down. */
  readonly numRounds: number;
  /** Milliseconds that never go back; default: this machine's. */
  readonly now?: () => number;
}

/** Most dispatches in one run. */
const MAX_DISPATCHES = 2000;
/** Least share of a submission's time that counts as its calls', where noise hides them. */
const LEAST_SHARE = 1 / 20;

/**
 * Seconds the device takes for all calls of each candidate once.
 *
 * Runs many passes in one submission and subtracts the time of a submission without calls; the cost
 * of the dispatches themselves remains, as it does in a step. Candidates take turns, so that what
 * disturbs the machine for a while disturbs all of them.
 *
 * @throws {KernelError} when a call does not compile.
 */
export async function timeCandidates<Dims>(
  device: Device,
  candidates: readonly TimedCalls<Dims>[],
  { runMs, numRounds, now = () => performance.now() }: TimingOptions,
): Promise<number[]> {
  const seconds = async (train: Train<Dims>) => {
    train.prepare?.();
    const began = now();
    await device.run(train.program, train.dims, { buffer: train.readFrom, bytes: 4 });
    return (now() - began) / 1000;
  };
  const first = candidates[0];
  if (first === undefined) return [];
  const idle = [await makeTrain(device, { ...first, calls: [] }, 1)];
  await seconds(idle[0]!);
  const [overhead] = await bestOf(numRounds, idle, seconds);
  const trains: Train<Dims>[] = [];
  for (const candidate of candidates) {
    const single = await makeTrain(device, candidate, 1);
    // Drivers that compile at first use do so here.
    await seconds(single);
    const once = withoutOverhead(await seconds(single), overhead!);
    const most = Math.max(1, Math.floor(MAX_DISPATCHES / candidate.calls.length));
    const numPasses = Math.min(most, Math.max(1, Math.ceil(runMs / 1000 / once)));
    trains.push(numPasses === 1 ? single : await makeTrain(device, candidate, numPasses));
  }
  const best = await bestOf(numRounds, trains, seconds);
  return best.map((total, i) => withoutOverhead(total, overhead!) / trains[i]!.numPasses);
}

/** So many passes over calls, ready to run in one submission. */
interface Train<Dims> extends TimedCalls<Dims> {
  readonly numPasses: number;
  readonly program: Program<Dims>;
}

async function makeTrain<Dims>(
  device: Device,
  timed: TimedCalls<Dims>,
  numPasses: number,
): Promise<Train<Dims>> {
  const calls = Array.from({ length: numPasses }, () => timed.calls).flat();
  return { ...timed, numPasses, program: await device.compile(calls) };
}

async function bestOf<Dims>(
  numRounds: number,
  trains: readonly Train<Dims>[],
  seconds: (train: Train<Dims>) => Promise<number>,
): Promise<number[]> {
  const best = trains.map(() => Infinity);
  for (let round = 0; round < numRounds; round++) {
    for (const [i, train] of trains.entries()) best[i] = Math.min(best[i]!, await seconds(train));
  }
  return best;
}

function withoutOverhead(total: number, overhead: number): number {
  // A clock that stands still has taken no time: no division by zero follows from it.
  return Math.max(total - overhead, total * LEAST_SHARE, 1e-9);
}
