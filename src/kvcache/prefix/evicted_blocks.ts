import { HashIndex } from "./hash_index.ts";

/** Blocks remembered at once, the latest: 640 KiB. */
const MAX_BLOCKS = 1 << 15;

/**
 * The path hashes of blocks that were evicted of late, and when, so that a look-up can tell a
 * prefix that was evicted from one that was never cached. O(1) per operation; the oldest are
 * forgotten first.
 *
 * For statistics: two paths share their 32 bits now and then, so one answer in 100,000 may be
 * wrong.
 */
export class EvictedBlocks {
  readonly #maxBlocks: number;
  /** A ring: the `n`th block that is added is entry `n % maxBlocks`. */
  readonly #index: HashIndex;
  /** When the block of each entry was evicted, ms. */
  readonly #times: Float64Array;
  #numAdded = 0;

  /** Remembers the latest `maxBlocks`. */
  constructor(maxBlocks = MAX_BLOCKS) {
    this.#maxBlocks = maxBlocks;
    this.#index = new HashIndex(maxBlocks);
    this.#times = new Float64Array(maxBlocks);
  }

  /** Whether none is remembered. */
  get isEmpty(): boolean {
    return this.#numAdded === 0;
  }

  /** Whether the block of this path hash is remembered as evicted. */
  has(hash: number): boolean {
    return this.#index.first(hash) >= 0;
  }

  /** When the block of this path hash was evicted, as `add` was told; undefined if unknown. */
  timeOf(hash: number): number | undefined {
    const entry = this.#index.first(hash);
    return entry < 0 ? undefined : this.#times[entry]!;
  }

  /** The block of this path hash has been evicted, at a time in ms. */
  add(hash: number, timeMs = 0): void {
    const entry = this.#numAdded % this.#maxBlocks;
    if (this.#numAdded >= this.#maxBlocks) this.#index.remove(entry);
    this.#index.add(entry, hash);
    this.#times[entry] = timeMs;
    this.#numAdded++;
  }

  /** Forgets all. */
  clear(): void {
    this.#index.clear();
    this.#numAdded = 0;
  }
}
