import type { ToolParser, ToolPiece } from "../core/tool_parser.ts";
import type { BodyScanner } from "./call_scanners.ts";

/** A call with its arguments as a value. */
export interface ParsedCall {
  readonly name: string;
  readonly arguments: unknown;
}

/** How a family of models writes calls. */
export interface CallSyntax {
  /** Each begins the body of a call; none begins with another. */
  readonly marks: readonly string[];
  /** Stand around bodies and mean nothing. */
  readonly noise?: readonly string[];
  /** A character that begins a body, without a mark, where an answer begins with it. */
  readonly first?: string;
  /** What may stand between two bodies without marks. */
  readonly separators?: string;
  /** A body without a mark that begins so is a call, also where it has been cut off. */
  readonly callStart?: RegExp;
  /** Whether nothing but calls can come, so that a body that is none is no text either. */
  readonly isForced?: boolean;
  /** How the end of a body is found; `mark` is the one that began it, or empty. */
  readonly scanner: (mark: string) => BodyScanner;
  /** The calls of a body; undefined where it is none, or not yet. */
  readonly parse: (body: string, mark: string) => readonly ParsedCall[] | undefined;
}

/**
 * Finds a family's calls in a text that comes in pieces: text, then bodies of calls.
 *
 *     text --- a mark, or the first character of all ---> body --- its end ---> text
 *
 * Text is held back while it may become a mark, and white space until something follows it: none
 * stands before or behind a call. A body behind a mark that is no call is left out; one without a
 * mark was text. O(1) per character for marks of limited length.
 */
export class CallParser implements ToolParser {
  readonly #syntax: CallSyntax;
  readonly #marks: readonly string[];
  /** What may still become a mark. */
  #held = "";
  /** White space that nothing has followed yet. */
  #space = "";
  #body: { text: string; readonly mark: string; readonly scanner: BodyScanner } | undefined;
  #hasText = false;
  #hasCalls = false;
  #pieces: ToolPiece[] = [];
  #text = "";

  constructor(syntax: CallSyntax) {
    this.#syntax = syntax;
    this.#marks = [...syntax.marks, ...syntax.noise ?? []];
  }

  push(text: string): readonly ToolPiece[] {
    for (const character of text) this.#take(character);
    return this.#takePieces();
  }

  flush(): readonly ToolPiece[] {
    const wasInside = this.#body !== undefined;
    if (wasInside) this.#endBody();
    for (const character of this.#held) this.#addText(character);
    this.#held = "";
    if (!this.#hasCalls && !wasInside) this.#text += this.#space;
    this.#space = "";
    return this.#takePieces();
  }

  #take(character: string): void {
    const body = this.#body;
    if (body !== undefined) {
      body.text += character;
      if (body.scanner.push(character)) this.#endBody();
      return;
    }
    if (this.#held === "" && this.#beginsBody(character)) return;
    this.#held += character;
    const mark = this.#marks.find((one) => one === this.#held);
    if (mark !== undefined) {
      this.#held = "";
      if (this.#syntax.marks.includes(mark)) this.#begin(mark);
      return;
    }
    while (this.#held !== "" && !this.#marks.some((one) => one.startsWith(this.#held))) {
      const [first] = this.#held;
      this.#held = this.#held.slice(first!.length);
      this.#addText(first!);
      if (this.#held !== "" && this.#beginsBody(this.#held)) {
        const again = this.#held;
        this.#held = "";
        for (const one of again.slice(1)) this.#take(one);
        return;
      }
    }
  }

  /** Begins a body without a mark, if an answer has nothing but calls so far. */
  #beginsBody(character: string): boolean {
    const { first } = this.#syntax;
    if (first === undefined || character[0] !== first || this.#hasText) return false;
    this.#begin("");
    this.#body!.text = first;
    this.#body!.scanner.push(first);
    return true;
  }

  #begin(mark: string): void {
    this.#body = { text: "", mark, scanner: this.#syntax.scanner(mark) };
  }

  #endBody(): void {
    const { text, mark } = this.#body!;
    this.#body = undefined;
    const calls = this.#syntax.parse(text, mark);
    if (calls === undefined) {
      const { isForced = false, callStart } = this.#syntax;
      const wasText = mark === "" && !isForced && callStart?.test(text) !== true;
      if (wasText) { for (const character of text) this.#addText(character); }
      return;
    }
    this.#space = "";
    this.#flushText();
    this.#hasCalls = true;
    for (const { name, arguments: value } of calls) {
      this.#pieces.push({ type: "call", name, arguments: JSON.stringify(value ?? {}) });
    }
  }

  #addText(character: string): void {
    if (/\s/.test(character)) {
      this.#space += character;
      return;
    }
    const { separators = "" } = this.#syntax;
    if (this.#hasCalls && !this.#hasText && separators.includes(character)) return;
    // White space that only parts text from calls is none of the answer's.
    if (this.#hasText || !this.#hasCalls) this.#text += this.#space;
    this.#text += character;
    this.#space = "";
    this.#hasText = true;
  }

  #flushText(): void {
    if (this.#text !== "") this.#pieces.push({ type: "text", text: this.#text });
    this.#text = "";
  }

  #takePieces(): readonly ToolPiece[] {
    this.#flushText();
    const pieces = this.#pieces;
    this.#pieces = [];
    return pieces;
  }
}
