import { type Clock, systemClock } from "../base/clock.ts";
import { StartupError } from "../core/errors.ts";
import { formatTraceRecord, type TraceEntry } from "./step_trace.ts";

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
   * Appends to a file, which is made if there is none: each engine that is started adds to it.
   *
   * @param onFailure as of {@link StepTraceOptions}: a disk may be full.
   * @throws {StartupError} when it cannot be opened.
   */
  static open(path: string, onFailure: (error: unknown) => void): StepTraceWriter {
    try {
      const file = Deno.openSync(path, { append: true, create: true });
      const encoder = new TextEncoder();
      return new StepTraceWriter((line) => {
        const bytes = encoder.encode(line);
        for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
      }, { onFailure });
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
  record(entry: TraceEntry): void {
    if (this.#hasFailed) return;
    const line = `${formatTraceRecord({ ms: this.#ms, ...entry })}\n`;
    try {
      this.#write(line);
    } catch (error) {
      this.#hasFailed = true;
      this.#onFailure(error);
    }
  }
}

function rethrow(error: unknown): never {
  throw error;
}
