import type { DownloadProgress } from "./download_progress.ts";
import { progressBars, progressLine } from "./progress_text.ts";

/** Where progress is shown. */
export interface ProgressOutput {
  /** Whether lines can be written over. */
  readonly isTerminal: boolean;
  /** Columns, asked each time. */
  width(): number;
  write(text: string): void;
}

const BARS_MS = 100;
const LINES_MS = 5000;
const DEFAULT_COLUMNS = 80;

/** Shows a download while it runs: bars on a terminal, elsewhere a line every five seconds. */
export class ProgressDisplay {
  readonly #progress: DownloadProgress;
  readonly #output: ProgressOutput;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** Lines of bars that stand above the cursor. */
  #numLines = 0;

  constructor(progress: DownloadProgress, output: ProgressOutput) {
    this.#progress = progress;
    this.#output = output;
  }

  /** Shows it from now on. */
  start(): void {
    this.#timer ??= setInterval(() => this.draw(), this.#output.isTerminal ? BARS_MS : LINES_MS);
  }

  /** Shows it as it is now. */
  draw(): void {
    const { state } = this.#progress;
    if (state.total.size === 0) return;
    if (!this.#output.isTerminal) return this.#output.write(`${progressLine(state)}\n`);
    const bars = progressBars(state, this.#output.width());
    this.#output.write(this.#erase() + bars.map((line) => `${line}\n`).join(""));
    this.#numLines = bars.length;
  }

  /** A line that stays, above the bars. */
  note(line: string): void {
    this.#output.write(`${this.#erase()}${line}\n`);
    this.#numLines = 0;
  }

  /** Ends it; the bars go, what follows says how it ended. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (this.#numLines > 0) this.#output.write(this.#erase());
    this.#numLines = 0;
  }

  /** Up to the first bar, and everything from there on gone (ECMA-48: CPL, ED). */
  #erase(): string {
    return this.#numLines === 0 ? "" : `\x1b[${this.#numLines}F\x1b[J`;
  }
}

/** Standard error as {@link ProgressOutput}; `hasBars` as the user's variables say. */
export function standardError(hasBars: boolean): ProgressOutput {
  return {
    isTerminal: hasBars && Deno.stderr.isTerminal(),
    // A terminal that does not know its width says 0.
    width: () => Deno.consoleSize().columns || DEFAULT_COLUMNS,
    write: (text) => void Deno.stderr.writeSync(new TextEncoder().encode(text)),
  };
}
