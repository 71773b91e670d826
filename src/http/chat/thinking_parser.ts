/** Marks of a model's template around what it thinks before it answers. */
export interface ThinkingMarks {
  readonly begin: string;
  readonly end: string;
}

/** Where an answer begins: inside a thought that the prompt has opened, behind one, or before. */
export type ThinkingStart = "inside" | "behind" | "before";

/** A part of an answer's text. */
export interface ThinkingPiece {
  readonly type: "reasoning" | "text";
  readonly text: string;
}

/**
 * Parts what a model thinks from what it answers, in a text that comes in pieces. The parts are the
 * same however the text is split; marks, and white space around them, are part of neither.
 *
 * O(1) per character for marks of limited length.
 */
export class ThinkingParser {
  readonly #marks: ThinkingMarks;
  #state: "before" | "inside" | "answer";
  /** Text that may still become a mark. */
  #held = "";
  /** White space that nothing has followed yet, and whether it stands at the start of a part. */
  #space = "";
  #isAtStart = true;
  #pieces: ThinkingPiece[] = [];

  constructor(marks: ThinkingMarks, start: ThinkingStart) {
    this.#marks = marks;
    this.#state = start === "behind" ? "answer" : start;
    this.#isAtStart = start !== "behind";
  }

  /** Whether the text so far ends within a thought. */
  get isThinking(): boolean {
    return this.#state === "inside";
  }

  push(text: string): readonly ThinkingPiece[] {
    if (this.#state === "answer" && !this.#isAtStart) {
      return text === "" ? [] : [{ type: "text", text }];
    }
    for (const character of text) this.#take(character);
    return this.#takePieces();
  }

  /** The rest, at the end of the text. */
  flush(): readonly ThinkingPiece[] {
    const held = this.#held;
    this.#held = "";
    for (const character of held) this.#add(character);
    if (this.#state === "before") this.#append("text", this.#space);
    this.#space = "";
    return this.#takePieces();
  }

  #take(character: string): void {
    if (this.#state === "answer") return this.#add(character);
    const mark = this.#state === "before" ? this.#marks.begin : this.#marks.end;
    this.#held += character;
    if (this.#held === mark) {
      this.#state = this.#state === "before" ? "inside" : "answer";
      this.#held = "";
      this.#space = "";
      this.#isAtStart = true;
      return;
    }
    while (this.#held !== "" && !mark.startsWith(this.#held)) {
      const [first] = this.#held;
      const rest = this.#held.slice(first!.length);
      this.#held = "";
      this.#add(first!);
      for (const one of rest) this.#take(one);
      return;
    }
  }

  #add(character: string): void {
    if (/\s/.test(character) && (this.#isAtStart || this.#state === "inside")) {
      this.#space += character;
      return;
    }
    // An answer without a thought is all text, its first white space too.
    const hasThought = this.#state !== "before";
    const space = this.#isAtStart && hasThought ? "" : this.#space;
    if (this.#state === "before") this.#state = "answer";
    const type = this.#state === "inside" ? "reasoning" : "text";
    this.#append(type, space + character);
    this.#space = "";
    this.#isAtStart = false;
  }

  #append(type: ThinkingPiece["type"], text: string): void {
    if (text === "") return;
    const last = this.#pieces.at(-1);
    if (last?.type === type) {
      this.#pieces[this.#pieces.length - 1] = { type, text: last.text + text };
    } else this.#pieces.push({ type, text });
  }

  #takePieces(): readonly ThinkingPiece[] {
    const pieces = this.#pieces;
    this.#pieces = [];
    return pieces;
  }
}
