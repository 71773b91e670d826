import type { BlockRemap } from "../pool/block_remap.ts";

/** The end of a chain. */
const END = -1;

/**
 * Finds entries by a 32-bit hash each: a chained hash table in three columns.
 *
 *     buckets   [ . , 4 , . , . ]      entries 4 and 0 fall into bucket 1
 *     next      4 -> 0 -> END
 *
 * Every operation but `clear` and a resize is O(1) expected and allocates nothing; memory is 12
 * bytes per entry.
 */
export class HashIndex {
  /** Valid for entries in the table. */
  #hashes: Int32Array;
  #buckets: Int32Array;
  #next: Int32Array;

  /** An empty table for entries `[0, numEntries)`. */
  constructor(numEntries: number) {
    this.#hashes = new Int32Array(numEntries);
    this.#buckets = emptyBuckets(numEntries);
    this.#next = new Int32Array(numEntries).fill(END);
  }

  /** The hash of entry `id`, which is or was in the table. */
  hashOf(id: number): number {
    return this.#hashes[id]!;
  }

  /** An entry of that hash, or -1; the others follow by {@link after}. */
  first(hash: number): number {
    return this.#skipOthers(this.#buckets[this.#bucketOf(hash)]!, hash);
  }

  /** The entry after `id` that has the same hash, or -1. */
  after(id: number): number {
    return this.#skipOthers(this.#next[id]!, this.#hashes[id]!);
  }

  /** Puts entry `id`, which is not in the table, under `hash`. */
  add(id: number, hash: number): void {
    const bucket = this.#bucketOf(hash);
    this.#hashes[id] = hash;
    this.#next[id] = this.#buckets[bucket]!;
    this.#buckets[bucket] = id;
  }

  /** Takes entry `id` out of the table. */
  remove(id: number): void {
    const bucket = this.#bucketOf(this.#hashes[id]!);
    if (this.#buckets[bucket] === id) this.#buckets[bucket] = this.#next[id]!;
    else {
      let before = this.#buckets[bucket]!;
      while (this.#next[before] !== id) before = this.#next[before]!;
      this.#next[before] = this.#next[id]!;
    }
  }

  /** Takes all entries out. O(entries). */
  clear(): void {
    this.#buckets.fill(END);
  }

  /**
   * Takes the new size and ids of blocks, of which those for which `isIn` holds are entries.
   * O(pool).
   */
  resize(remap: BlockRemap, isIn: (id: number) => boolean): void {
    this.#hashes = remap.column(this.#hashes);
    this.#buckets = emptyBuckets(remap.numBlocks);
    this.#next = new Int32Array(remap.numBlocks).fill(END);
    this.#hashes.forEach((hash, id) => isIn(id) && this.add(id, hash));
  }

  #skipOthers(from: number, hash: number): number {
    let id = from;
    while (id !== END && this.#hashes[id] !== hash) id = this.#next[id]!;
    return id;
  }

  #bucketOf(hash: number): number {
    return (hash ^ (hash >>> 16)) & (this.#buckets.length - 1);
  }
}

function emptyBuckets(numEntries: number): Int32Array {
  return new Int32Array(2 ** Math.ceil(Math.log2(numEntries))).fill(END);
}
