import type { Choice, ChoiceWriter } from "./choice_writer.ts";
import type { TextPiece } from "./sequence_text.ts";

/** Turns the pieces of an answer into the choices of a stream, each with what is new. */
export class DeltaChoices {
  readonly #writer: ChoiceWriter;
  /** Sequences that have had their opening. */
  readonly #started = new Set<number>();

  constructor(writer: ChoiceWriter) {
    this.#writer = writer;
  }

  /** The choices of one step's pieces: openings, texts and finishes, or none. */
  of(pieces: readonly TextPiece[]): Choice[] {
    for (const piece of pieces) this.#writer.observe?.(piece);
    return pieces.flatMap((piece) => this.#choicesOf(piece));
  }

  #choicesOf(piece: TextPiece): Choice[] {
    const { index, finish } = piece;
    const choices: (Choice | undefined)[] = [];
    if (!this.#started.has(index)) {
      this.#started.add(index);
      choices.push(this.#writer.openingChoice(index));
    }
    choices.push(...this.#writer.textChoices(piece));
    if (finish !== undefined) choices.push(this.#writer.finishChoice(index, finish));
    return choices.filter((choice) => choice !== undefined);
  }
}
