import type { AnswerFormat, Choice } from "./answer_format.ts";
import type { TextPiece } from "./sequence_text.ts";

/** Turns the pieces of an answer into the choices of a stream, each with what is new. */
export class DeltaChoices {
  readonly #format: AnswerFormat;
  /** Sequences that have had their opening. */
  readonly #started = new Set<number>();

  constructor(format: AnswerFormat) {
    this.#format = format;
  }

  /** The choices of one step's pieces: openings, texts and finishes, or none. */
  of(pieces: readonly TextPiece[]): Choice[] {
    for (const piece of pieces) this.#format.observe?.(piece);
    return pieces.flatMap((piece) => this.#choicesOf(piece));
  }

  #choicesOf(piece: TextPiece): Choice[] {
    const { index, finish } = piece;
    const choices: (Choice | undefined)[] = [];
    if (!this.#started.has(index)) {
      this.#started.add(index);
      choices.push(this.#format.openingChoice(index));
    }
    choices.push(...this.#format.textChoices(piece));
    if (finish !== undefined) choices.push(this.#format.finishChoice(index, finish));
    return choices.filter((choice) => choice !== undefined);
  }
}
