import type { TokenId } from "../core/ids.ts";
import type { ScoredToken, SequenceFinish, TextPiece } from "./sequence_text.ts";

/** All of one sequence, for an answer in one piece. */
export interface WholeText {
  readonly index: number;
  readonly text: string;
  readonly tokenIds: readonly TokenId[];
  readonly scored: readonly ScoredToken[];
  readonly finish: SequenceFinish;
}

/** One element of `choices`. */
export type Choice = Readonly<Record<string, unknown>>;

/**
 * How an endpoint words its answers. Everything else, from admission to usage, is the same for all
 * (`answer.ts`).
 */
export interface AnswerFormat {
  /** Begins the ids of answers, such as `chatcmpl-`. */
  readonly idPrefix: string;
  /** `object` of an answer in one piece, and of a chunk. */
  readonly object: string;
  readonly chunkObject: string;
  /** Further fields of the whole answer and of the first chunk. */
  readonly firstFields: Readonly<Record<string, unknown>>;
  /** Whether the answer goes on from the prompt's text rather than beginning a turn of its own. */
  readonly continuesPrompt: boolean;
  /** Whether a piece without text is worth a chunk. */
  readonly sendsTokenIds: boolean;
  /** What a sequence's first chunk says before any text, if anything. */
  openingChoice(index: number): Choice | undefined;
  textChoice(piece: TextPiece): Choice;
  finishChoice(index: number, finish: SequenceFinish): Choice;
  wholeChoice(whole: WholeText): Choice;
}
