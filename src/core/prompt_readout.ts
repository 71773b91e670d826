import type { TokenScore } from "./batch.ts";
import type { TokenId } from "./ids.ts";

/**
 * Which hidden states of a prompt make its vector: the mean of all, the last one, or the first one,
 * where models trained for it put a classification token.
 */
export const POOLINGS = ["mean", "last", "cls"] as const;

/** One of {@link POOLINGS}. */
export type Pooling = (typeof POOLINGS)[number];

/** What is read of a prompt as it is computed. */
export interface PromptReadout {
  /**
   * Log-probabilities of every prompt token but the first, each with so many likeliest tokens
   * beside it; absent: none.
   */
  readonly numLogprobs?: number;
  /** Tokens whose log-probabilities behind the whole prompt are asked for; absent: none. */
  readonly nextTokens?: readonly TokenId[];
  /** Which vector is made of the last hidden states, after the final norm; absent: none. */
  readonly pooling?: Pooling;
}

/** What was read of a prompt, as its {@link PromptReadout} asks. */
export interface PromptReport {
  /** One per prompt token from the second on. */
  readonly scores?: readonly TokenScore[];
  /** One per token of `nextTokens`. */
  readonly nextScores?: readonly TokenScore[];
  /** As many numbers as a hidden state has; neither normalized nor cut. */
  readonly vector?: Float32Array;
}
