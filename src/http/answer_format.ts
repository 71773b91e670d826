import type { TokenId } from "../core/ids.ts";
import type { ScoredToken, SequenceFinish, TextPiece } from "./sequence_text.ts";

/** A whole sequence, for an answer in one piece. */
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
 * The shape of an endpoint's answers. Everything else, from admission to usage, is shared
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
  /** Whether a piece without text becomes a chunk. */
  readonly sendsTokenIds: boolean;
  /** The delta of a sequence's first chunk, before any text; absent for none. */
  openingChoice(index: number): Choice | undefined;
  textChoice(piece: TextPiece): Choice;
  finishChoice(index: number, finish: SequenceFinish): Choice;
  wholeChoice(whole: WholeText): Choice;
}
