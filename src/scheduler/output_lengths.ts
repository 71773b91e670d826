/** Answers that are remembered; older ones are forgotten. */
const WINDOW = 256;
/** Answers that a scheduler begins with, and their tokens, while too few have ended. */
const NUM_PRIOR = 16;
const PRIOR_TOKENS = 512;

/**
 * Expects lengths of answers from those that have ended: of the last {@link WINDOW} answers, the
 * ones that were longer than an answer is already say how long it becomes (Gong et al. 2025,
 * "Past-Future scheduler", arXiv:2507.10150).
 */
export class OutputLengths {
  /** In order of length. */
  readonly #sorted: number[] = new Array(NUM_PRIOR).fill(PRIOR_TOKENS);
  /** The same, oldest first, as a ring. */
  readonly #ring: number[] = new Array(NUM_PRIOR).fill(PRIOR_TOKENS);
  #oldest = 0;

  /** An answer has ended with so many tokens. O(window). */
  observe(numTokens: number): void {
    if (this.#ring.length < WINDOW) this.#ring.push(numTokens);
    else {
      const forgotten = this.#ring[this.#oldest]!;
      this.#ring[this.#oldest] = numTokens;
      this.#oldest = (this.#oldest + 1) % WINDOW;
      this.#sorted.splice(this.#numUpTo(forgotten) - 1, 1);
    }
    this.#sorted.splice(this.#numUpTo(numTokens), 0, numTokens);
  }

  /**
   * Tokens that an answer is expected to get which has `numTokens`; one that is longer than all
   * that are remembered, as many again. O(log window).
   *
   * @param quantile of those that were longer, from 0 to below 1.
   */
  expect(numTokens: number, quantile: number): number {
    const numShorter = this.#numUpTo(numTokens);
    const numLonger = this.#sorted.length - numShorter;
    if (numLonger === 0) return 2 * numTokens;
    return this.#sorted[numShorter + Math.floor(quantile * numLonger)]!;
  }

  /** How many of those remembered are no longer than that. */
  #numUpTo(numTokens: number): number {
    let [low, high] = [0, this.#sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#sorted[middle]! <= numTokens) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
