import { type Clock, systemClock } from "../base/clock.ts";
import { StartupError } from "../core/errors.ts";
import { formatStepTraceRecord, type StepTraceEntry } from "./step_trace.ts";

const LINE_FEED = 0x0a;

/** The surroundings of a {@link StepTraceWriter}. */
export interface StepTraceOptions {
  readonly clock?: Pick<Clock, "now">;
  /** Is told why a line cannot be written; none is afterwards. Default: the error is thrown. */
  readonly onFailure?: (error: unknown) => void;
}

/**
 * Writes down what an engine is asked for, plans and gets from its device, as JSON lines.
 *
 * Its clock is the prefix cache's, and stands still between two ticks, so that a replay that sets
 * its clock to each record's sees the same times.
 */
export class StepTraceWriter {
  readonly #write: (line: string) => void;
  readonly #onFailure: (error: unknown) => void;
  readonly #clock: Pick<Clock, "now">;
  #ms = 0;
  #hasFailed = false;

  /** @param write takes one line, its end included. */
  constructor(
    write: (line: string) => void,
    { clock = systemClock, onFailure = rethrow }: StepTraceOptions = {},
  ) {
    this.#write = write;
    this.#onFailure = onFailure;
    this.#clock = clock;
    this.tick();
  }

  /**
   * Appends to a file, which is made if there is none: each engine that is started adds to it, on a
   * new line where a crash has cut off the last one.
   *
   * @param onFailure as of {@link StepTraceOptions}: a disk may be full.
   * @throws {StartupError} when it cannot be opened.
   */
  static open(path: string, onFailure: (error: unknown) => void): StepTraceWriter {
    try {
      const file = Deno.openSync(path, { append: true, create: true });
      const encoder = new TextEncoder();
      const write = (text: string) => {
        const bytes = encoder.encode(text);
        for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
      };
      if (endsWithinLine(path)) write("\n");
      return new StepTraceWriter(write, { onFailure });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new StartupError(`--trace-steps: cannot write ${path}: ${reason}`);
    }
  }

  /** Milliseconds, as of the latest tick. */
  readonly now = (): number => this.#ms;

  /** Moves the clock on: something is about to happen that may depend on the time. */
  tick(): void {
    this.#ms = this.#clock.now();
  }

  /** Writes an entry with the time of the latest tick. */
  record(entry: StepTraceEntry): void {
    if (this.#hasFailed) return;
    const line = `${formatStepTraceRecord({ ms: this.#ms, ...entry })}\n`;
    try {
      this.#write(line);
    } catch (error) {
      this.#hasFailed = true;
      this.#onFailure(error);
    }
  }
}

/** Whether the last line of a file has no end. */
function endsWithinLine(path: string): boolean {
  // A pipe or a terminal keeps no lines.
  const { isFile, size } = Deno.statSync(path);
  if (!isFile || size === 0) return false;
  using file = Deno.openSync(path);
  file.seekSync(-1, Deno.SeekMode.End);
  const last = new Uint8Array(1);
  file.readSync(last);
  return last[0] !== LINE_FEED;
}

function rethrow(error: unknown): never {
  throw error;
}
