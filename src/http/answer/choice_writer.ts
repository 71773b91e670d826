import type { TokenId } from "../../core/ids.ts";
import type { ScoredToken, SequenceFinish, TextPiece } from "./sequence_text.ts";

/** A whole sequence, for an answer in one piece. */
export interface WholeText {
  readonly index: number;
  readonly text: string;
  readonly tokenIds: readonly TokenId[];
  readonly scored: readonly ScoredToken[];
  readonly finish: SequenceFinish;
}

/** Whether a piece has text, log-probabilities, or ids that are to be sent. */
export function saysSomething(
  { text, scored, tokenIds }: TextPiece,
  sendsTokenIds: boolean,
): boolean {
  return text !== "" || scored.length > 0 || (sendsTokenIds && tokenIds.length > 0);
}

/** One element of `choices`. */
export type Choice = Readonly<Record<string, unknown>>;

/**
 * Writes the choices of an endpoint's answers. Everything else, from admission to usage, is shared
 * (`answer.ts`).
 */
export interface ChoiceWriter {
  /** Begins the ids of answers, such as `chatcmpl-`. */
  readonly idPrefix: string;
  /** `object` of an answer in one piece, and of a chunk. */
  readonly object: string;
  readonly chunkObject: string;
  /** Further fields of the whole answer and of the first chunk. */
  readonly firstFields: Readonly<Record<string, unknown>>;
  /** Whether the answer goes on from the prompt's text rather than beginning a turn of its own. */
  readonly continuesPrompt: boolean;
  /** Whether special tokens are part of the text, since calls are found by them. */
  readonly readsSpecialTokens?: boolean;
  /** Whether the stop token that ends a text is scored with it. */
  readonly scoresStopToken?: boolean;
  /** Further fields of an answer in one piece, once all of it is there. */
  wholeFields?(): Readonly<Record<string, unknown>>;
  /** Whether a piece without text becomes a chunk. */
  readonly sendsTokenIds: boolean;
  /** Takes note of each piece, those of whole answers too. */
  observe?(piece: TextPiece): void;
  /** Tokens of thoughts that were observed; absent where the model does not think. */
  numReasoningTokens?(): number;
  /** The delta of a sequence's first chunk, before any text; absent for none. */
  openingChoice(index: number): Choice | undefined;
  /** What a piece becomes; none where it has nothing to say. */
  textChoices(piece: TextPiece): readonly Choice[];
  finishChoice(index: number, finish: SequenceFinish): Choice;
  wholeChoice(whole: WholeText): Choice;
}
