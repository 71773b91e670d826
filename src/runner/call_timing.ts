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
  const seconds = async ({ prepare, program, dims, readFrom }: Passes<Dims>) => {
    prepare?.();
    const began = now();
    await device.run(program, dims, { buffer: readFrom, bytes: 4 });
    return (now() - began) / 1000;
  };
  const first = candidates[0];
  if (first === undefined) return [];
  const idle = [await passesOf(device, { ...first, calls: [] }, 1)];
  await seconds(idle[0]!);
  const [overhead] = await bestOf(numRounds, idle, seconds);
  const runs: Passes<Dims>[] = [];
  for (const candidate of candidates) {
    const single = await passesOf(device, candidate, 1);
    // Drivers that compile at first use do so here.
    await seconds(single);
    const once = withoutOverhead(await seconds(single), overhead!);
    const most = Math.max(1, Math.floor(MAX_DISPATCHES / candidate.calls.length));
    const numPasses = Math.min(most, Math.max(1, Math.ceil(runMs / 1000 / once)));
    runs.push(numPasses === 1 ? single : await passesOf(device, candidate, numPasses));
  }
  const best = await bestOf(numRounds, runs, seconds);
  return best.map((total, i) => withoutOverhead(total, overhead!) / runs[i]!.numPasses);
}

/** Calls several times over, ready to run in one submission. */
interface Passes<Dims> extends TimedCalls<Dims> {
  readonly numPasses: number;
  readonly program: Program<Dims>;
}

async function passesOf<Dims>(
  device: Device,
  timed: TimedCalls<Dims>,
  numPasses: number,
): Promise<Passes<Dims>> {
  const calls = Array.from({ length: numPasses }, () => timed.calls).flat();
  return { ...timed, numPasses, program: await device.compile(calls) };
}

async function bestOf<Dims>(
  numRounds: number,
  runs: readonly Passes<Dims>[],
  seconds: (run: Passes<Dims>) => Promise<number>,
): Promise<number[]> {
  const best = runs.map(() => Infinity);
  for (let round = 0; round < numRounds; round++) {
    for (const [i, run] of runs.entries()) best[i] = Math.min(best[i]!, await seconds(run));
  }
  return best;
}

function withoutOverhead(total: number, overhead: number): number {
  // A clock that stands still has taken no time: no division by zero follows from it.
  return Math.max(total - overhead, total * LEAST_SHARE, 1e-9);
}
