import type { TokenId } from "./ids.ts";

/** How one sequence draws its tokens and when it ends. Checked at the HTTP door, trusted inside. */
export interface SamplingParams {
  /** Most tokens to generate; at least 1. */
  readonly maxTokens: number;
  /** Divides the logits; 0 means greedy. */
  readonly temperature: number;
  /** Keep the `topK` most likely tokens; 0 keeps all. */
  readonly topK: number;
  /** Keep the smallest set whose probability reaches `topP` (Holtzman 2019, 1904.09751); 1 keeps all. */
  readonly topP: number;
  /** Keep tokens at least `minP` times as likely as the likeliest; 0 keeps all. */
  readonly minP: number;
  /** Non-negative safe integer; with the output index it decides every draw of this sequence. */
  readonly seed: number;
  /** Tokens that end the sequence, the model's end-of-sequence ids included unless they are ignored. */
  readonly stopTokenIds: readonly TokenId[];
  /** Log-probabilities of the chosen and this many likeliest tokens, 0 to 20; absent means none. */
  readonly numLogprobs?: number;
}
