import type { TokenId } from "../core/ids.ts";
import type { ThinkingBudgetParams } from "../core/sampling_params.ts";

/**
 * Ends a thought that gets too long: once its tokens are spent, the marks that end it are forced,
 * one token after the other.
 *
 * A thought begins with the answer, or with a mark that is the answer's first text. O(marks) per
 * token.
 */
export class ThinkingBudget {
  readonly #params: ThinkingBudgetParams;
  #state: "before" | "inside" | "over";
  #numLeft: number;
  /** The newest tokens, as many as the longer mark has. */
  #newest: TokenId[] = [];

  constructor(params: ThinkingBudgetParams) {
    this.#params = params;
    this.#numLeft = params.maxTokens;
    this.#state = params.beginTokens.length === 0 ? "inside" : "before";
  }

  /** Whether the thought has ended, or there is none. */
  get isOver(): boolean {
    return this.#state === "over";
  }

  /** The tokens that may be drawn next: one while the end is forced, undefined for any. */
  get allowedTokens(): Uint32Array | undefined {
    if (this.#state !== "inside" || this.#numLeft > 0) return undefined;
    const { endTokens, vocabSize } = this.#params;
    const words = new Uint32Array(Math.ceil(vocabSize / 32));
    const next = endTokens[prefixLength(this.#newest, endTokens)]!;
    words[next >>> 5] = 1 << next % 32;
    return words;
  }

  /** Takes note of a drawn token. */
  count(token: TokenId): void {
    if (this.#state === "over") return;
    const { beginTokens, endTokens } = this.#params;
    this.#newest.push(token);
    if (this.#state === "before") {
      const isBegun = this.#newest.every((one, i) => one === beginTokens[i]);
      if (!isBegun) this.#state = "over";
      else if (this.#newest.length === beginTokens.length) {
        this.#state = "inside";
        this.#newest = [];
      }
      return;
    }
    if (this.#newest.length > endTokens.length) this.#newest.shift();
    this.#numLeft--;
    const isEnded = this.#newest.length === endTokens.length &&
      endTokens.every((one, i) => one === this.#newest[i]);
    if (isEnded) this.#state = "over";
  }
}

/** How many of the first of `mark` the tokens end with; not all of them. */
function prefixLength(tokens: readonly TokenId[], mark: readonly TokenId[]): number {
  for (let length = Math.min(tokens.length, mark.length - 1); length > 0; length--) {
    const tail = tokens.slice(-length);
    if (tail.every((token, i) => token === mark[i])) return length;
  }
  return 0;
}
