/**
 * Random numbers that are the same for the same seed on every machine: xoshiro128** (Blackman and
 * Vigna 2018, arXiv:1805.01407), its state filled by SplitMix32 steps from the seed.
 */
export class SeededRandom {
  readonly #state = new Uint32Array(4);

  /** @param seed an integer; its low 32 bits count. */
  constructor(seed: number) {
    for (let i = 0; i < 4; i++) {
      let mixed = (seed + Math.imul(i + 1, 0x9e3779b9)) | 0;
      mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
      this.#state[i] = mixed ^ (mixed >>> 15);
    }
  }

  /** Uniform in the open interval (0, 1), 32 bits. */
  uniform(): number {
    return (this.#next() + 0.5) / 2 ** 32;
  }

  /** Normal with mean 0 and deviation 1, by the method of Box and Muller (1958). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  #next(): number {
    const state = this.#state;
    const [a, b, c, d] = state as unknown as [number, number, number, number];
    const result = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9);
    state[2] = c ^ a;
    state[3] = d ^ b;
    state[1] = b ^ state[2]!;
    state[0] = a ^ state[3]!;
    state[2]! ^= b << 9;
    state[3] = rotateLeft(state[3]!, 11);
    return result >>> 0;
  }
}

function rotateLeft(value: number, numBits: number): number {
  return (value << numBits) | (value >>> (32 - numBits));
}
