import process from "node:process";
import { createInterface, type Interface } from "node:readline";
import { PassThrough, Transform, Writable } from "node:stream";

/** Stands in an edited line for a line break of pasted text. */
const PASTED_BREAK = "\u2424";
/** What a terminal sends around pasted text once it is asked to (xterm's bracketed paste). */
const PASTE_BEGIN = "\x1b[200~";
const PASTE_END = "\x1b[201~";
const ASK_FOR_BRACKETS = "\x1b[?2004h";
const NO_BRACKETS = "\x1b[?2004l";
/** Most lines that the arrow keys go back. */
const HISTORY_LINES = 200;

/** Turns the line breaks of pasted text into a character, so that one paste is one line. */
export class PasteJoiner {
  #isPasting = false;
  /** The beginning of a bracket that may go on in the next chunk. */
  #held = "";

  /** What to hand on for a chunk of the terminal's input. */
  push(chunk: string): string {
    let rest = this.#held + chunk;
    this.#held = "";
    let joined = "";
    while (rest !== "") {
      const bracket = this.#isPasting ? PASTE_END : PASTE_BEGIN;
      const at = rest.indexOf(bracket);
      const text = at < 0
        ? rest.slice(0, rest.length - heldLength(rest, bracket))
        : rest.slice(0, at);
      joined += this.#isPasting ? text.replace(/\r\n?|\n/g, PASTED_BREAK) : text;
      if (at < 0) {
        this.#held = rest.slice(text.length);
        break;
      }
      this.#isPasting = !this.#isPasting;
      rest = rest.slice(at + bracket.length);
    }
    return joined;
  }
}

/** How much of a text's end may be the beginning of `bracket`; a lone escape is a key. */
function heldLength(text: string, bracket: string): number {
  for (let length = bracket.length - 1; length > 1; length--) {
    if (text.endsWith(bracket.slice(0, length))) return length;
  }
  return 0;
}

/** A line as it was pasted. */
export function withBreaks(line: string): string {
  return line.replaceAll(PASTED_BREAK, "\n");
}

/** Writes at once, in order with whatever else the program writes. */
function writeNow(bytes: Uint8Array): void {
  for (let left = bytes; left.length > 0;) left = left.subarray(Deno.stdout.writeSync(left));
}

/** The terminal's output, which is still while an answer is written. */
class PromptOutput extends Writable {
  isMuted = false;
  readonly isTTY = true;

  get columns(): number {
    try {
      return Deno.consoleSize().columns;
    } catch {
      return 80;
    }
  }

  override _write(chunk: Uint8Array, _: string, done: () => void): void {
    if (!this.isMuted) writeNow(chunk);
    done();
  }
}

/** Reads lines, edited at a terminal with history, or from a pipe. */
export interface LineReader {
  /** The next line; undefined at the end of the input, or after Ctrl-C on an empty line. */
  read(prompt: string): Promise<string | undefined>;
  /** What Ctrl-C does while no line is read. */
  onInterrupt: () => void;
  close(): void;
}

/** A reader of standard input: an editor at a terminal, else plain lines. */
export function openLineReader(): LineReader {
  return Deno.stdin.isTerminal() && Deno.stdout.isTerminal()
    ? new TerminalReader()
    : new PipeReader();
}

class TerminalReader implements LineReader {
  readonly #output = new PromptOutput();
  readonly #interface: Interface;
  readonly #lines: string[] = [];
  #waiting: ((line: string | undefined) => void) | undefined;
  #isClosed = false;
  onInterrupt: () => void = () => {};

  constructor() {
    Deno.stdin.setRaw(true);
    const joiner = new PasteJoiner();
    const decoder = new TextDecoder();
    const joined = new Transform({
      transform(chunk: Uint8Array, _, done) {
        done(null, joiner.push(decoder.decode(chunk, { stream: true })));
      },
    });
    process.stdin.pipe(joined);
    this.#interface = createInterface({
      input: joined,
      output: this.#output,
      terminal: true,
      historySize: HISTORY_LINES,
      removeHistoryDuplicates: true,
    });
    writeNow(new TextEncoder().encode(ASK_FOR_BRACKETS));
    this.#output.isMuted = true;
    this.#interface.on("line", (line) => this.#take(withBreaks(line)));
    this.#interface.on("close", () => this.#take(undefined));
    this.#interface.on("SIGINT", () => this.#interrupt());
  }

  read(prompt: string): Promise<string | undefined> {
    const line = this.#lines.shift();
    if (line !== undefined || this.#isClosed) return Promise.resolve(line);
    this.#output.isMuted = false;
    this.#interface.setPrompt(prompt);
    this.#interface.prompt(true);
    return new Promise((resolve) => this.#waiting = resolve);
  }

  #take(line: string | undefined): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    this.#output.isMuted = true;
    if (line === undefined) this.#isClosed = true;
    if (waiting !== undefined) waiting(line);
    else if (line !== undefined) this.#lines.push(line);
  }

  /** Ctrl-C empties the line, on an empty one ends, and while an answer is written stops that. */
  #interrupt(): void {
    if (this.#waiting === undefined) return this.onInterrupt();
    if (this.#interface.line === "") return this.#interface.close();
    this.#interface.write(null, { ctrl: true, name: "e" });
    this.#interface.write(null, { ctrl: true, name: "u" });
  }

  close(): void {
    this.#interface.close();
    writeNow(new TextEncoder().encode(NO_BRACKETS));
    Deno.stdin.setRaw(false);
    process.stdin.unpipe();
    process.stdin.pause();
  }
}

/** Lines of a pipe or file, without prompts. */
class PipeReader implements LineReader {
  readonly #lines = createInterface({ input: process.stdin.pipe(new PassThrough()) })
    [Symbol.asyncIterator]();
  onInterrupt: () => void = () => {};

  async read(): Promise<string | undefined> {
    const { done, value } = await this.#lines.next();
    return done === true ? undefined : value;
  }

  close(): void {
    process.stdin.unpipe();
    process.stdin.pause();
  }
}

/**
 * Reads a message, which may have several lines: one that ends in a backslash goes on, and so does
 * everything between two `"""`.
 */
export async function readMessage(
  reader: Pick<LineReader, "read">,
  { first, more }: { readonly first: string; readonly more: string },
): Promise<string | undefined> {
  let line = await reader.read(first);
  if (line === undefined) return undefined;
  if (line.startsWith('"""')) return await readQuoted(reader, line.slice(3), more);
  let message = "";
  while (line.endsWith("\\")) {
    message += `${line.slice(0, -1)}\n`;
    const next = await reader.read(more);
    if (next === undefined) return message.trimEnd();
    line = next;
  }
  return message + line;
}

async function readQuoted(
  reader: Pick<LineReader, "read">,
  begin: string,
  more: string,
): Promise<string> {
  let text = begin;
  while (!text.trimEnd().endsWith('"""')) {
    const line = await reader.read(more);
    if (line === undefined) return text.trim();
    text += `\n${line}`;
  }
  return text.trimEnd().slice(0, -3).replace(/^\n|\n$/g, "");
}
