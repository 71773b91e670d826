/** Reads the body of a call character by character, up to its end. */
export interface BodyScanner {
  /** Whether the body ends with this character. */
  push(character: string): boolean;
}

/** Which quotes hide what they enclose; inside, a backslash takes the next character along. */
export type Quotes = "" | '"' | "\"'";

/** Ends with a mark that stands outside of quotes; the mark belongs to the body. */
export class UntilMark implements BodyScanner {
  readonly #mark: string;
  readonly #quotes: QuoteState;
  #tail = "";

  constructor(mark: string, quotes: Quotes) {
    this.#mark = mark;
    this.#quotes = new QuoteState(quotes);
  }

  push(character: string): boolean {
    const isQuoted = this.#quotes.push(character);
    this.#tail = isQuoted ? "" : (this.#tail + character).slice(-this.#mark.length);
    return this.#tail === this.#mark;
  }
}

/** Ends with the bracket that closes the first one; before that, there may be a name. */
export class Balanced implements BodyScanner {
  readonly #quotes: QuoteState;
  #depth = 0;

  constructor(quotes: Quotes) {
    this.#quotes = new QuoteState(quotes);
  }

  push(character: string): boolean {
    if (this.#quotes.push(character)) return false;
    if (character === "{" || character === "[") this.#depth++;
    if (character !== "}" && character !== "]") return false;
    this.#depth--;
    return this.#depth <= 0;
  }
}

class QuoteState {
  readonly #quotes: string;
  #open = "";
  #isEscaped = false;

  constructor(quotes: string) {
    this.#quotes = quotes;
  }

  /** Whether the character is enclosed by quotes, or one of them. */
  push(character: string): boolean {
    if (this.#open === "") {
      if (character === "" || !this.#quotes.includes(character)) return false;
      this.#open = character;
      return true;
    }
    if (this.#isEscaped) this.#isEscaped = false;
    else if (character === "\\") this.#isEscaped = true;
    else if (character === this.#open) this.#open = "";
    return true;
  }
}
