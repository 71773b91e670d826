import type { BlockKey } from "./block_key.ts";

/** Keys remembered at once, the latest: some 3 MiB. */
const MAX_KEYS = 1 << 15;

/**
 * The keys of blocks that were evicted of late, so that a look-up can tell what it comes too late for
 * from what was never there. O(1) per operation; the oldest are forgotten first.
 */
export class EvictedKeys {
  readonly #maxKeys: number;
  readonly #keys = new Set<BlockKey>();

  constructor(maxKeys = MAX_KEYS) {
    this.#maxKeys = maxKeys;
  }

  /** Whether none is remembered. */
  get isEmpty(): boolean {
    return this.#keys.size === 0;
  }

  /** Whether the block of this key is remembered as evicted. */
  has(key: BlockKey): boolean {
    return this.#keys.has(key);
  }

  /** The block of this key has been evicted. */
  add(key: BlockKey): void {
    this.#keys.delete(key);
    this.#keys.add(key);
    if (this.#keys.size > this.#maxKeys) this.#keys.delete(this.#keys.values().next().value!);
  }

  /** Forgets all. */
  clear(): void {
    this.#keys.clear();
  }
}
