import type { Style } from "./style.ts";

/** Characters at which a look may begin or end. */
const MARKS = /[*`]/;
/** A line that is nothing but this opens or closes a block of code. */
const FENCE = /^ {0,3}(```|~~~)/;
/** Longest beginning of a line that decides what kind of line it is. */
const LINE_HEAD = /^(?: {0,3}(?:`{1,3}|~{1,3}|#{1,6}|[-*+]|\d{1,9}[.)])? ?)$/;

/**
 * Paints Markdown as it streams: headings, bold, italic, code and lists. What is written is never
 * taken back, so only a few characters are held until their meaning is certain. Without colours
 * the text stays as it came.
 */
export class MarkdownPainter {
  readonly #style: Style;
  /** The beginning of a line, or a mark, whose meaning the next characters decide. */
  #held = "";
  #isAtLineStart = true;
  #isInFence = false;
  #isFenceLine = false;
  #isHeading = false;
  #isBold = false;
  #isItalic = false;
  #isCode = false;

  constructor(style: Style) {
    this.#style = style;
  }

  /** What to show for the next piece of text. */
  write(text: string): string {
    if (!this.#style.isColoured) return text;
    let shown = "";
    for (const character of text) shown += this.#take(character);
    return shown;
  }

  /** What is still held; the next text begins anew. */
  end(): string {
    if (!this.#style.isColoured) return "";
    const rest = this.#isAtLineStart ? this.#startLine(this.#held) : this.#mark(this.#held, "");
    this.#held = "";
    this.#endLine();
    this.#isInFence = false;
    return rest;
  }

  #take(character: string): string {
    if (character === "\n") return this.#newLine();
    if (this.#isAtLineStart) {
      const head = this.#held + character;
      if (
        !this.#isInFence && LINE_HEAD.test(head) || this.#isInFence && /^ {0,3}[`~]*$/.test(head)
      ) {
        this.#held = head;
        return "";
      }
      this.#held = "";
      return this.#startLine(head);
    }
    if (this.#isFenceLine) return this.#style.dim(character);
    if (this.#isInFence) return this.#plain(character);
    return this.#inline(character);
  }

  #newLine(): string {
    const rest = this.#isAtLineStart ? this.#startLine(this.#held) : this.#mark(this.#held, "");
    this.#held = "";
    if (this.#isFenceLine) this.#isInFence = !this.#isInFence;
    this.#endLine();
    return `${rest}\n`;
  }

  #endLine(): void {
    this.#isAtLineStart = true;
    this.#isFenceLine =
      this.#isHeading =
      this.#isBold =
      this.#isItalic =
      this.#isCode =
        false;
  }

  /** The line's kind is certain: `head` is what it begins with. */
  #startLine(head: string): string {
    this.#isAtLineStart = false;
    if (FENCE.test(head)) {
      this.#isFenceLine = true;
      return this.#style.dim(head);
    }
    if (this.#isInFence) return this.#plain(head);
    if (/^ {0,3}#{1,6} /.test(head)) {
      this.#isHeading = true;
      return this.#inlineAll(head.replace(/^ {0,3}#{1,6} /, ""));
    }
    const bullet = /^( {0,3})[-*+] /.exec(head);
    if (bullet === null) return this.#inlineAll(head);
    return `${bullet[1]}${this.#style.cyan("•")} ${this.#inlineAll(head.slice(bullet[0].length))}`;
  }

  #inlineAll(text: string): string {
    return [...text].map((character) => this.#inline(character)).join("");
  }

  /** One character of a line; a mark waits for the next one, which may make it a double mark. */
  #inline(character: string): string {
    const held = this.#held;
    if (held === "*" && character === "*") {
      this.#held = "**";
      return "";
    }
    this.#held = "";
    const before = held === "" ? "" : this.#mark(held, character);
    if (MARKS.test(character) && !(this.#isCode && character === "*")) {
      if (character === "`") {
        this.#isCode = !this.#isCode;
        return before;
      }
      this.#held = character;
      return before;
    }
    return before + this.#plain(character);
  }

  /** A held mark: it begins a look before text, ends one after text, and is a star elsewhere. */
  #mark(mark: string, next: string): string {
    if (mark === "") return "";
    const isOn = mark === "**" ? this.#isBold : this.#isItalic;
    if (!isOn && !/\S/.test(next)) return this.#plain(mark);
    if (mark === "**") this.#isBold = !isOn;
    else this.#isItalic = !isOn;
    return "";
  }

  #plain(text: string): string {
    const { bold, italic, cyan } = this.#style;
    if (text === "") return "";
    let shown = text;
    if (this.#isInFence || this.#isCode) return cyan(shown);
    if (this.#isItalic) shown = italic(shown);
    if (this.#isBold || this.#isHeading) shown = bold(shown);
    return shown;
  }
}
