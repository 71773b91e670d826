// deno-lint-ignore-file no-console -- what the terminal shows of the process's end is written here
import { EngineUnavailableError, StartupError } from "../core/errors.ts";
import type { Server } from "./server.ts";

/**
 * How the process ends, for supervisors.
 *
 * | code | meaning                                                                             |
 * | ---- | ----------------------------------------------------------------------------------- |
 * | 0    | a signal asked for it; running requests had `--shutdown-timeout` to finish           |
 * | 1    | a mistake of the user's, said in one sentence, or a bug, with its stack              |
 * | 70   | the engine could not be started, or failed too often: another process may do better  |
 * | 130  | a second signal, which waits for nothing                                             |
 */
export const EXIT_CODES = { stopped: 0, mistake: 1, engineFailed: 70, interrupted: 130 } as const;

/** A signal that follows the first so soon is the same one, passed on by another process. */
const SAME_SIGNAL_MS = 500;

/** Time for the last answers to leave, and for files to be closed, ms. */
const FLUSH_MS = 1000;

/** The part of a server that is needed to end it. */
type Stoppable = Pick<Server, "stop">;

/** The options of {@link ProcessEnd}. */
export interface ProcessEndOptions {
  /** Stops accepting connections, and waits for the open ones. */
  readonly shutdown: () => Promise<void>;
  /** How long running requests may finish after a signal, ms. */
  readonly deadlineMs: number;
}

/** Ends the process in order, once: on a signal, or when the engine is given up. */
export class ProcessEnd {
  readonly #options: ProcessEndOptions;
  #server: Stoppable | undefined;
  #hasBegun = false;
  /** Whether requests are taken: before, a signal finds none that could finish. */
  isReady = false;

  constructor(options: ProcessEndOptions) {
    this.#options = options;
  }

  /** Whether the process is ending; later failures follow from that. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** Sets the server to stop. */
  serves(server: Stoppable): void {
    this.#server = server;
  }

  /** The first SIGINT or SIGTERM lets running requests finish, a later one ends at once. */
  onSignals(): void {
    let firstMs: number | undefined;
    const stop = () => {
      const now = performance.now();
      // Ctrl-C under "deno task" arrives twice: from the terminal, and from the task.
      if (firstMs !== undefined && now - firstMs < SAME_SIGNAL_MS) return;
      firstMs ??= now;
      if (this.#hasBegun) Deno.exit(EXIT_CODES.interrupted);
      const deadlineMs = this.isReady ? this.#options.deadlineMs : 0;
      const words = `running requests have ${deadlineMs / 1000} s to finish`;
      console.log(`\nStopping: ${this.isReady ? words : "the server was not ready yet"}`);
      this.#end(EXIT_CODES.stopped, deadlineMs);
    };
    Deno.addSignalListener("SIGINT", stop);
    if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", stop);
  }

  /** The engine has failed for good: its requests are answered, and a supervisor may start anew. */
  giveUp(reason: string): void {
    if (this.#hasBegun) return;
    const code = EXIT_CODES.engineFailed;
    console.error(`error: The engine is given up, the process ends with code ${code}: ${reason}`);
    this.#end(code, 0);
  }

  async #end(code: number, deadlineMs: number): Promise<void> {
    this.#hasBegun = true;
    const closed = this.#options.shutdown();
    await this.#server?.stop(deadlineMs).catch((error) => console.error(error));
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, FLUSH_MS))]);
    Deno.exit(code);
  }
}

/**
 * Ends the process with an error: one sentence for a mistake of the user's, or for a permission
 * that Deno refuses (it names the flag), else the stack.
 */
export function exitFor(error: unknown): never {
  const isSentence = error instanceof StartupError || error instanceof EngineUnavailableError ||
    error instanceof Deno.errors.NotCapable;
  console.error(isSentence ? `error: ${error.message}` : error);
  const isEngine = error instanceof EngineUnavailableError;
  Deno.exit(isEngine ? EXIT_CODES.engineFailed : EXIT_CODES.mistake);
}
