import type { TokenId } from "./ids.ts";

/**
 * Temperatures below it are greedy: divided by it, two different logits are too far apart for a
 * draw to choose the smaller.
 */
export const MIN_TEMPERATURE = 1e-5;

/** Most log-probabilities per token beside the chosen one's. */
export const MAX_LOGPROBS = 20;

/** How one sequence draws its tokens and when it ends. Checked at the HTTP door, trusted inside. */
export interface SamplingParams {
  /** Most tokens to generate; with 0 the sequence ends when its prompt is computed. */
  readonly maxTokens: number;
  /** Divides the logits; below {@link MIN_TEMPERATURE} the draw is greedy. */
  readonly temperature: number;
  /** Keep the `topK` most likely tokens; 0 keeps all. */
  readonly topK: number;
  /**
   * Keep the smallest set whose probability reaches `topP` (Holtzman 2019, 1904.09751); 1 keeps
   * all.
   */
  readonly topP: number;
  /** Keep tokens at least `minP` times as likely as the likeliest; 0 keeps all. */
  readonly minP: number;
  /** Non-negative safe integer; with the output index it decides every draw of this sequence. */
  readonly seed: number;
  /**
   * Tokens that end the sequence, the model's end-of-sequence ids included unless they are ignored.
   */
  readonly stopTokenIds: readonly TokenId[];
  /**
   * Likeliest tokens to report beside the chosen one, 0 to {@link MAX_LOGPROBS}; absent: no
   * log-probabilities.
   */
  readonly numLogprobs?: number;
  /** Tokens that must be drawn before a stop token may be; absent means 0. */
  readonly minTokens?: number;
  /** Subtracted from a token's logit for each time it was drawn; absent means 0. */
  readonly frequencyPenalty?: number;
  /** Subtracted from the logits of tokens that were drawn; absent means 0. */
  readonly presencePenalty?: number;
  /** Divides positive logits of tokens in prompt or output, multiplies others; absent means 1. */
  readonly repetitionPenalty?: number;
  /** Added to the logits of tokens, each named once. */
  readonly logitBias?: readonly (readonly [token: TokenId, bias: number])[];
  /**
   * The tokens that may be drawn, bit `t % 32` of word `t / 32` for token `t`; absent allows all.
   */
  readonly allowedTokens?: Uint32Array;
  /** Ends what the model thinks before it answers; absent lets it think. */
  readonly thinkingBudget?: ThinkingBudgetParams;
}

/** How long a thought may be, in tokens, and the marks around it. */
export interface ThinkingBudgetParams {
  /** Most tokens of a thought, its marks apart. */
  readonly maxTokens: number;
  /** The mark that begins a thought; empty where the prompt has it already. */
  readonly beginTokens: readonly TokenId[];
  /** The mark that ends it; at least one token. */
  readonly endTokens: readonly TokenId[];
  readonly vocabSize: number;
}
