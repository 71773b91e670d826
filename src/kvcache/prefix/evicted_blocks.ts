import { BlockRemap } from "../pool/block_remap.ts";
import { HashIndex } from "./hash_index.ts";

/** Blocks remembered at once, the latest: 640 KiB. */
const MAX_BLOCKS = 1 << 15;
/** Blocks that there is room for at first. */
const MIN_BLOCKS = 1 << 6;

/**
 * The path hashes of blocks that were evicted recently, and when, so that a look-up can tell a
 * prefix that was evicted from one that was never cached. The oldest are forgotten first. O(1) per
 * operation, amortized while the columns double up to their full length.
 *
 * For statistics: two paths share their 32 bits now and then, so one answer in 100,000 may be
 * wrong.
 */
export class EvictedBlocks {
  readonly #maxBlocks: number;
  /** A ring: the `n`th block that is added is entry `n % maxBlocks`. */
  readonly #index: HashIndex;
  /** When the block of each entry was evicted, ms. */
  #times: Float64Array;
  #numAdded = 0;

  /** Remembers the latest `maxBlocks`. */
  constructor(maxBlocks = MAX_BLOCKS) {
    this.#maxBlocks = maxBlocks;
    const capacity = Math.min(MIN_BLOCKS, maxBlocks);
    this.#index = new HashIndex(capacity);
    this.#times = new Float64Array(capacity);
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
    else if (entry === this.#times.length) this.#grow();
    this.#index.add(entry, hash);
    this.#times[entry] = timeMs;
    this.#numAdded++;
  }

  /** Forgets all. */
  clear(): void {
    this.#index.clear();
    this.#numAdded = 0;
  }

  /** Makes room for more entries; all that there are were added, and none is forgotten yet. */
  #grow(): void {
    const numEntries = this.#times.length;
    const remap = new BlockRemap(Math.min(2 * numEntries, this.#maxBlocks), []);
    this.#index.resize(remap, (entry) => entry < numEntries);
    this.#times = remap.column(this.#times);
  }
}
