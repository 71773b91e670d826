import { digitsOf } from "../core/step_bounds.ts";

/**
 * The time that one step has for prompts, and how many of their tokens fit into it.
 *
 * What a token takes depends on its context, so the time is given as the number of tokens that fill
 * it at each length of context; several prompts share it in proportion. Whatever is left, the first
 * prompt of a step gets `least` tokens and each other one a token, so that all advance.
 */
export class PrefillTime {
  readonly #limits: readonly number[];
  readonly #least: number;
  /** What is left of the time; below 0 where prompts got what they get at least. */
  #left = 1;

  /**
   * @param limits as of `StepBounds.maxPrefillTokens`.
   * @param least tokens that the first prompt gets in any case.
   */
  constructor(limits: readonly number[], least: number) {
    this.#limits = limits;
    this.#least = least;
  }

  /** Whether all of the time is taken. */
  get isSpent(): boolean {
    return this.#left <= 1e-9;
  }

  /** How many of the `count` tokens from position `start` on the rest of the time allows. */
  fit(start: number, count: number): number {
    const least = Math.min(count, this.#left === 1 ? this.#least : 1);
    for (let digits = digitsOf(start + count); digits >= digitsOf(start + 1); digits--) {
      const ofContext = 2 ** digits - 1 - start;
      const most = Math.min(count, ofContext, this.#numLeft(digits));
      // Of the contexts with so many digits, or all of those with fewer.
      if (most > 0 && digitsOf(start + most) === digits) return Math.max(least, most);
    }
    return least;
  }

  /** So many tokens of one prompt are planned; a single one is as good as a decode. */
  take(start: number, count: number): void {
    if (count > 1) this.#left -= count / this.#limitOf(digitsOf(start + count));
  }

  /** Whole tokens, also where shares of one step add up to no more than nearly it. */
  #numLeft(digits: number): number {
    return Math.floor(this.#left * this.#limitOf(digits) + 1e-6);
  }

  #limitOf(digits: number): number {
    return this.#limits[Math.min(digits, this.#limits.length - 1)]!;
  }
}
