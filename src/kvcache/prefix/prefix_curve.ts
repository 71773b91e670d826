import { MissRatioCurve } from "./miss_ratio_curve.ts";

/**
 * Watches prompts come and sequences end, and estimates what hit rate other sizes of KV memory
 * would have.
 *
 * It sees blocks as the prefix cache does: by scope and by all tokens up to their end. It works the
 * same whether or not there is a cache, and keeps a sample of hashes only, no tokens. About 10
 * integer operations per token at each of the two.
 */
export class PrefixCurve {
  readonly #blockSize: number;
  readonly #curve: MissRatioCurve;

  /** @param capacity blocks in the pool, asked at each access. */
  constructor(blockSize: number, capacity: () => number) {
    this.#blockSize = blockSize;
    this.#curve = new MissRatioCurve(capacity);
  }

  /** The estimates; see {@link MissRatioCurve.estimate}. */
  estimate(): ReturnType<MissRatioCurve["estimate"]> {
    return this.#curve.estimate();
  }

  /**
   * A prompt of `tokens` is looked up. Its last token is always computed, so it is not looked for.
   */
  lookUp(scope: string, tokens: Uint32Array): void {
    const keys = this.#keys(scope, tokens, tokens.length - 1);
    for (const key of keys.reverse()) this.#curve.access(key);
  }

  /** A sequence of `tokens` has ended: its whole blocks are now the latest used. */
  store(scope: string, tokens: Uint32Array): void {
    for (const key of this.#keys(scope, tokens, tokens.length).reverse()) this.#curve.touch(key);
  }

  /** One number in [0, 2^53) per whole block of `tokens[0, limit)`, by all tokens up to its end. */
  #keys(scope: string, tokens: Uint32Array, limit: number): number[] {
    let low = 0x9e3779b9;
    let high = 0x85ebca6b;
    for (let i = 0; i < scope.length; i++) {
      low = Math.imul(low ^ scope.charCodeAt(i), 0xcc9e2d51);
      high = Math.imul(high ^ low ^ (low >>> 15), 0x1b873593);
    }
    const keys: number[] = [];
    for (let i = 0; i < limit; i++) {
      low = Math.imul(low ^ tokens[i]!, 0xcc9e2d51);
      low ^= low >>> 15;
      high = Math.imul(high ^ low, 0x1b873593);
      high ^= high >>> 13;
      if ((i + 1) % this.#blockSize === 0) keys.push(toKey(low, high));
    }
    return keys;
  }
}

/** Mixes 64 bits of state to a uniform 53-bit number (the finalizer of MurmurHash3). */
function toKey(low: number, high: number): number {
  return finalize(high ^ Math.imul(low, 0x27d4eb2f)) * 2 ** 21 + (finalize(low) >>> 11);
}

function finalize(bits: number): number {
  let h = bits;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
