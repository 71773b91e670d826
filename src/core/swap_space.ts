/** Host memory for the KV of preempted sequences: as the device's, in slabs that groups cut. */
export interface SwapSpace {
  readonly numSlabs: number;
  /** Bytes of one block of each cache group, all its layers together. */
  readonly blockBytes: readonly number[];
}

/**
 * What copying and computing take on this device, learned from steps as they run. The scheduler
 * weighs them and measures nothing itself; each is milliseconds.
 */
export interface SwapCosts {
  /** Of one position more in a step. */
  readonly tokenMs: number;
  /** Of a MiB from the device to the host, its checksum included. */
  readonly storeMsPerMiB: number;
  /** Of a MiB from the host to the device, likewise. */
  readonly loadMsPerMiB: number;
}

/** Copies between device and host so far, as a runner measures them. */
export interface SwapTimes {
  readonly storedBytes: number;
  readonly storeMs: number;
  readonly loadedBytes: number;
  readonly loadMs: number;
}

/** Bytes that so many blocks of each group hold. */
export function bytesOfBlocks({ blockBytes }: SwapSpace, counts: readonly number[]): number {
  return counts.reduce((sum, count, group) => sum + count * blockBytes[group]!, 0);
}
