import { invariant } from "../../base/invariant.ts";
import type { CurvePoint } from "../../core/engine_command.ts";

/** KV memory as multiples of what there is; infinite memory is asked for separately. */
export const CURVE_MULTIPLES: readonly number[] = [0.25, 0.5, 1, 2, 4, 8];

/** Keys below 2^53, so that a threshold on them is a sampling rate. */
const KEY_SPACE = 2 ** 53;

/**
 * What the prefix cache's hit rate would be with less or more memory, estimated as requests come.
 *
 * An LRU cache of c blocks hits exactly the accesses whose reuse distance (distinct blocks touched
 * since the last access) is below c (Mattson 1970), so one pass over the accesses gives all
 * capacities at once. Only a fixed number of keys is followed: those with the smallest hashes, a
 * uniform sample of all (SHARDS, Waldspurger 2015, FAST). A distance among samples, over the
 * sampling rate, estimates the real one; with the default sample, hit rates come out within about
 * 0.03. Holds the keys of at most `maxSamples` blocks; an access costs O(1) when not sampled, else
 * O(log maxSamples), and O(maxSamples) for a new key that displaces another, which is ever rarer.
 *
 *     time ->   . a . b . c . . a     distance of the second a: b and c, two distinct samples
 *     marks     0 0 0 1 0 1 0 0 1     one per sampled key, at its last access, in a Fenwick tree
 */
export class MissRatioCurve {
  readonly #capacity: () => number;
  readonly #maxSamples: number;
  /** Time of each sampled key's last access. */
  readonly #lastAccess = new Map<number, number>();
  /** Fenwick tree over the marks, 1-based. */
  #tree: Uint32Array;
  #now = 0;
  /** Keys below it are sampled; falls as more distinct keys are seen. */
  #threshold = KEY_SPACE;
  #numAccesses = 0;
  /** What the sampled accesses stand for; differs from `#numAccesses` by the sample's luck. */
  #sampledWeight = 0;
  readonly #hits = new Float64Array(CURVE_MULTIPLES.length);
  #hitsOfInfinite = 0;

  /** @param capacity blocks in the pool, asked at each access since it may be resized. */
  constructor(capacity: () => number, maxSamples = 4096) {
    invariant(maxSamples >= 2, `a curve of ${maxSamples} samples`);
    this.#capacity = capacity;
    this.#maxSamples = maxSamples;
    this.#tree = new Uint32Array(4 * maxSamples + 1);
  }

  /** Accesses seen so far, sampled or not. */
  get numAccesses(): number {
    return this.#numAccesses;
  }

  /**
   * Records the look-up of a block. `key` is an integer in [0, 2^53), uniform over blocks.
   * Look a prompt's blocks up from the last to the first: then a block is never older than those
   * that build on it, as in the cache itself.
   */
  access(key: number): void {
    this.#numAccesses++;
    if (key >= this.#threshold) return;
    const rate = this.#threshold / KEY_SPACE;
    this.#sampledWeight += 1 / rate;
    const last = this.#lastAccess.get(key);
    if (last !== undefined) {
      const distance = (this.#lastAccess.size - this.#sum(last)) / rate;
      this.#count(distance, 1 / rate);
    }
    this.touch(key);
  }

  /** Makes a block the latest used without counting a look-up: it has been stored, or used on. */
  touch(key: number): void {
    if (key >= this.#threshold) return;
    const last = this.#lastAccess.get(key);
    if (last !== undefined) {
      this.#mark(last, -1);
      this.#lastAccess.delete(key);
    }
    if (this.#now === this.#tree.length - 1) this.#compact();
    this.#mark(++this.#now, 1);
    this.#lastAccess.set(key, this.#now);
    if (this.#lastAccess.size > this.#maxSamples) this.#dropLargest();
  }

  /** The curve as estimated so far, by rising capacity; all zero before the first access. */
  estimate(): CurvePoint[] {
    // A block that is accessed very often weighs much when it is sampled and is missed when not.
    // Such accesses are hits at any capacity, so the difference is counted as those ("SHARDS-adj").
    const correction = this.#numAccesses - this.#sampledWeight;
    const share = (hits: number) =>
      this.#numAccesses === 0 ? 0 : Math.min(1, Math.max(0, hits + correction) / this.#numAccesses);
    return [
      ...CURVE_MULTIPLES.map((multiple, i) => ({ multiple, hitRate: share(this.#hits[i]!) })),
      { multiple: Infinity, hitRate: share(this.#hitsOfInfinite) },
    ];
  }

  #count(distance: number, weight: number): void {
    const capacity = this.#capacity();
    CURVE_MULTIPLES.forEach((multiple, i) => {
      if (distance < multiple * capacity) this.#hits[i]! += weight;
    });
    this.#hitsOfInfinite += weight;
  }

  /** Keeps the sample at its size: the keys at the new threshold and above are followed no more. */
  #dropLargest(): void {
    let largest = 0;
    for (const key of this.#lastAccess.keys()) largest = Math.max(largest, key);
    this.#mark(this.#lastAccess.get(largest)!, -1);
    this.#lastAccess.delete(largest);
    this.#threshold = largest;
  }

  /** Renumbers the last accesses 1, 2, ... in their order. */
  #compact(): void {
    const keys = [...this.#lastAccess].sort(([, a], [, b]) => a - b).map(([key]) => key);
    this.#tree.fill(0);
    keys.forEach((key, i) => {
      this.#lastAccess.set(key, i + 1);
      this.#mark(i + 1, 1);
    });
    this.#now = keys.length;
  }

  #mark(time: number, delta: number): void {
    for (let i = time; i < this.#tree.length; i += i & -i) this.#tree[i]! += delta;
  }

  /** Marks at times up to `time`. */
  #sum(time: number): number {
    let sum = 0;
    for (let i = time; i > 0; i -= i & -i) sum += this.#tree[i]!;
    return sum;
  }
}
