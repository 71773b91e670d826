import type { ScheduledChunk } from "../core/batch.ts";
import { digitsOf } from "../core/step_bounds.ts";

/** Tokens of the first prompt, whose time tells how many the next ones may have. */
const FIRST_TOKENS = 64;

/** Binary digits of the longest context that is told apart. */
const MAX_DIGITS = 20;

/** How much the newest step says of the next. */
const EMA_WEIGHT = 0.5;

/**
 * A context at which attention is taken to cost as much as the rest of a token, until contexts as
 * long have been measured.
 */
const EVEN_CONTEXT = 2048;

/** The sizes that a {@link PrefillPace} keeps to. */
export interface PrefillPaceOptions {
  /** Most time of a step that computes prompts, ms. */
  readonly maxMs: number;
  /** Most tokens of any step. */
  readonly maxTokens: number;
}

/**
 * Learns how many tokens of prompts a step can compute in the time that it may take: drivers reset
 * what runs too long, and nobody else gets a token meanwhile.
 *
 * A step of few tokens takes longer for each than one of many, since weights are read for both: it
 * says what many cost at most.
 */
export class PrefillPace {
  readonly #options: PrefillPaceOptions;
  /** ms per token, by the digits of the context that the step's prompts end with. */
  readonly #msPerToken: (number | undefined)[] = [];
  #maxTokens: readonly number[] | undefined;

  constructor(options: PrefillPaceOptions) {
    this.#options = options;
    this.#maxTokens = this.#limits();
  }

  /** As of `StepBounds`; undefined where time limits no step. */
  get maxTokens(): readonly number[] | undefined {
    return this.#maxTokens;
  }

  /** A step with these chunks has taken so long on the device. */
  observe(chunks: readonly ScheduledChunk[], deviceMs: number): void {
    let [numTokens, end, longest] = [0, 0, 0];
    for (const { start, tokens: { length } } of chunks) {
      if (length === 1) continue;
      numTokens += length;
      if (length > longest) [end, longest] = [start + length, length];
    }
    if (numTokens === 0) return;
    const digits = Math.min(digitsOf(end), MAX_DIGITS);
    const msPerToken = deviceMs / numTokens;
    const known = this.#msPerToken[digits];
    // Nothing larger ends with such a context.
    const most = Math.min(this.#limitOf(digits), 2 ** digits - 1);
    const isLarge = 2 * numTokens >= most;
    if (known === undefined) this.#msPerToken[digits] = msPerToken;
    else if (isLarge || msPerToken < known) {
      this.#msPerToken[digits] = known + EMA_WEIGHT * (msPerToken - known);
    }
    this.#maxTokens = this.#limits();
  }

  /** One number for each count of digits, without those that repeat the last. */
  #limits(): readonly number[] | undefined {
    const { maxTokens } = this.#options;
    const limits = Array.from({ length: MAX_DIGITS + 1 }, (_, digits) => this.#limitOf(digits));
    const last = limits.findLastIndex((limit, digits) => limit !== limits[digits - 1]);
    return limits[0] === maxTokens && last === 0 ? undefined : limits.slice(0, last + 1);
  }

  #limitOf(digits: number): number {
    const { maxMs, maxTokens } = this.#options;
    const msPerToken = this.#estimate(digits);
    if (msPerToken === undefined) return Math.min(FIRST_TOKENS, maxTokens);
    return Math.max(1, Math.min(maxTokens, Math.floor(maxMs / msPerToken)));
  }

  /** From the longest known context that is no longer, scaled; else that of the next longer one. */
  #estimate(digits: number): number | undefined {
    for (let shorter = digits; shorter >= 0; shorter--) {
      const known = this.#msPerToken[shorter];
      if (known === undefined) continue;
      return known * (EVEN_CONTEXT + 2 ** digits) / (EVEN_CONTEXT + 2 ** shorter);
    }
    return this.#msPerToken.find((known) => known !== undefined);
  }
}
