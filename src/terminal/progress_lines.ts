/** Where progress is shown. */
export interface LineOutput {
  /** Whether a line can be written over. */
  readonly isTerminal: boolean;
  write(text: string): void;
}

/** To the beginning of the cursor's line, and the line gone (ECMA-48: CR, EL). */
const ERASE = "\r\x1b[2K";

/** Cells of a bar. */
const BAR_CELLS = 20;

/**
 * Shows the phases of some work, a line each. How far a phase is ("load weights: 40 %") takes a
 * line of its own every time; on a terminal one line that changes, with a bar where it is in
 * percent, and goes when the phase ends.
 */
export class ProgressLines {
  readonly #output: LineOutput;
  #phase: string | undefined;
  /** Whether a line that changes stands at the cursor. */
  #isOpen = false;

  constructor(output: LineOutput) {
    this.#output = output;
  }

  /** @param words a phase, or the last one's with a colon and how far it is. */
  show(words: string): void {
    const isFurther = this.#phase !== undefined && words.startsWith(`${this.#phase}: `);
    if (!isFurther) this.#phase = words;
    if (isFurther && this.#output.isTerminal) {
      this.#output.write(`${ERASE}... ${withBar(words)}`);
      this.#isOpen = true;
      return;
    }
    this.end();
    this.#output.write(`... ${words}\n`);
  }

  /** Before anything else is written. */
  end(): void {
    if (this.#isOpen) this.#output.write(ERASE);
    this.#isOpen = false;
  }
}

/** Words that end in percent, with a bar of that length before it. */
function withBar(words: string): string {
  return words.replace(/(\d+) %$/, (share) => {
    const numFull = Math.min(BAR_CELLS, Math.round(parseInt(share) / 100 * BAR_CELLS));
    return `${"█".repeat(numFull)}${"░".repeat(BAR_CELLS - numFull)} ${share}`;
  });
}

/** Standard output or error for {@link ProgressLines}. */
export function lineOutput(stream: typeof Deno.stdout | typeof Deno.stderr): LineOutput {
  return {
    isTerminal: stream.isTerminal(),
    write: (text) => void stream.writeSync(new TextEncoder().encode(text)),
  };
}
