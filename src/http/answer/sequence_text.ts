import type { TokenLogprob } from "../../core/batch.ts";
import type { TokenId } from "../../core/ids.ts";
import type { PromptReport } from "../../core/prompt_readout.ts";
import type { FinishReason, TokenEvent } from "../../core/token_event.ts";
import type { DetokenizerPort, StopStringPort } from "../text_port.ts";

/** A generated token with its log-probability and where its text begins. */
export interface ScoredToken {
  readonly token: TokenId;
  readonly logprob: number;
  readonly topLogprobs: readonly TokenLogprob[];
  /** Offset into the sequence's generated text, in characters. */
  readonly textOffset: number;
}

/** How a sequence ended, as clients see it. */
export interface SequenceFinish {
  readonly reason: Exclude<FinishReason, "error">;
  /** The stop string, or the stop token that the request named; null for all other ends. */
  readonly stopReason: string | number | null;
}

/** The piece that one token event adds to a sequence. */
export interface TextPiece {
  /** Which of the request's sequences, from 0. */
  readonly index: number;
  /** Printable text; empty while it may still be part of a character or of a stop string. */
  readonly text: string;
  /** The event's token, stop token included; none on an end without one. */
  readonly tokenIds: readonly TokenId[];
  /** Tokens whose text begins in the text released so far and that were not reported before. */
  readonly scored: readonly ScoredToken[];
  /** What was read of the prompt; on the sequence's first piece. */
  readonly prompt?: PromptReport;
  /** Present on the sequence's last piece. */
  readonly finish?: SequenceFinish;
}

/** How the tokens of a sequence become the text of a choice. */
export interface SequenceTextOptions {
  readonly index: number;
  readonly detokenizer: DetokenizerPort;
  readonly stopStrings: StopStringPort;
  /** Whether the stop string or stop token that ends the text belongs to it. */
  readonly includeStop: boolean;
  /**
   * Whether the stop token that ends the text is scored, though it is no part of it: clients that
   * slice log-probabilities by numbers of tokens count it. Default: it is not.
   */
  readonly scoresStopToken?: boolean;
  /** Stop tokens that the request named, the model's own not among them. */
  readonly namedStopTokenIds: ReadonlySet<TokenId>;
}

/**
 * Assembles the text of one sequence: detokenizer, then stop strings.
 *
 * A log-probability is reported together with the text of its token. So a stop token and the tokens
 * of a stop string, which are not part of the answer, have none, and text held back as a possible
 * stop string is released together with its tokens. O(text of the event) per event.
 */
export class SequenceText {
  readonly #options: SequenceTextOptions;
  #numTokens = 0;
  #finish: SequenceFinish | undefined;
  /** Characters from the detokenizer, held back ones included. */
  #numDetokenizedChars = 0;
  /** Characters released. */
  #numReleasedChars = 0;
  /** Tokens whose text is not released yet, in order. */
  #pending: ScoredToken[] = [];

  constructor(options: SequenceTextOptions) {
    this.#options = options;
  }

  /** Number of tokens so far, with a stop token and the token that completed a stop string. */
  get numTokens(): number {
    return this.#numTokens;
  }

  /** How the sequence ended; undefined while it runs. */
  get finish(): SequenceFinish | undefined {
    return this.#finish;
  }

  /** Takes the sequence's next event, which must not be an error; nothing after the end. */
  push(event: TokenEvent): TextPiece {
    const { index, includeStop, scoresStopToken = false } = this.#options;
    const { token, finishReason } = event;
    let text = "";
    if (token !== undefined) {
      this.#numTokens++;
      if (finishReason !== "stop" || includeStop) text = this.#detokenize(token, event);
      else if (scoresStopToken) this.#score(token, event);
    }
    if (finishReason !== undefined && this.#finish === undefined) {
      text += this.#end(finishReason as SequenceFinish["reason"], token);
    }
    this.#numReleasedChars += text.length;
    return {
      index,
      text,
      tokenIds: token === undefined ? [] : [token],
      scored: this.#takeReleased(),
      ...(event.prompt === undefined ? {} : { prompt: event.prompt }),
      ...(this.#finish === undefined ? {} : { finish: this.#finish }),
    };
  }

  #score(token: TokenId, { logprob, topLogprobs = [] }: TokenEvent): void {
    if (logprob === undefined) return;
    this.#pending.push({ token, logprob, topLogprobs, textOffset: this.#numDetokenizedChars });
  }

  #detokenize(token: TokenId, event: TokenEvent): string {
    this.#score(token, event);
    return this.#filter(this.#options.detokenizer.push([token]));
  }

  #filter(text: string): string {
    this.#numDetokenizedChars += text.length;
    const { text: released, matched } = this.#options.stopStrings.push(text);
    if (matched === undefined) return released;
    this.#finish = { reason: "stop", stopReason: matched };
    return this.#options.includeStop ? released + matched : released;
  }

  /** Releases the text held back, which may still complete a stop string. */
  #end(reason: SequenceFinish["reason"], token: TokenId | undefined): string {
    const text = this.#filter(this.#options.detokenizer.flush());
    if (this.#finish !== undefined) return text;
    const isNamed = reason === "stop" && token !== undefined &&
      this.#options.namedStopTokenIds.has(token);
    this.#finish = { reason, stopReason: isNamed ? token : null };
    return text + this.#options.stopStrings.flush();
  }

  #takeReleased(): ScoredToken[] {
    const endsInStopString = typeof this.#finish?.stopReason === "string";
    const isAll = this.#finish !== undefined && !endsInStopString;
    const firstHeld = isAll
      ? -1
      : this.#pending.findIndex(({ textOffset }) => textOffset >= this.#numReleasedChars);
    return this.#pending.splice(0, firstHeld === -1 ? this.#pending.length : firstHeld);
  }
}
