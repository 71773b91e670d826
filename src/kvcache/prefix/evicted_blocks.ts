import { HashIndex } from "./hash_index.ts";

/** Blocks remembered at once, the latest: 384 KiB. */
const MAX_BLOCKS = 1 << 15;

/**
 * The path hashes of blocks that were evicted of late, so that a look-up can tell what it comes too
 * late for from what was never there. O(1) per operation; the oldest are forgotten first.
 *
 * For statistics: two paths share their 32 bits now and then, so one answer in 100,000 may be
 * wrong.
 */
export class EvictedBlocks {
  readonly #maxBlocks: number;
  /** A ring: the `n`th block that is added is entry `n % maxBlocks`. */
  readonly #index: HashIndex;
  #numAdded = 0;

  /** Remembers the latest `maxBlocks`. */
  constructor(maxBlocks = MAX_BLOCKS) {
    this.#maxBlocks = maxBlocks;
    this.#index = new HashIndex(maxBlocks);
  }

  /** Whether none is remembered. */
  get isEmpty(): boolean {
    return this.#numAdded === 0;
  }

  /** Whether the block of this path hash is remembered as evicted. */
  has(hash: number): boolean {
    return this.#index.first(hash) >= 0;
  }

  /** The block of this path hash has been evicted. */
  add(hash: number): void {
    const entry = this.#numAdded % this.#maxBlocks;
    if (this.#numAdded >= this.#maxBlocks) this.#index.remove(entry);
    this.#index.add(entry, hash);
    this.#numAdded++;
  }

  /** Forgets all. */
  clear(): void {
    this.#index.clear();
    this.#numAdded = 0;
  }
}
