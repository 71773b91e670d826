import type { HostedRequest, HostProblem, WorkerHost } from "./worker_host.ts";

/** Longest task of the lane for short ones, characters: some tenths of a second's work. */
export const SHORT_TASK_CHARS = 2 ** 16;

/**
 * Two Workers of one kind, one for short tasks and one for long ones, so that a short task never
 * waits behind a long one. Each starts when it is first needed.
 */
export class WorkerLanes<Load, Request extends HostedRequest, Outcome> {
  readonly #short: WorkerHost<Load, Request, Outcome>;
  readonly #long: WorkerHost<Load, Request, Outcome>;

  constructor(createHost: () => WorkerHost<Load, Request, Outcome>) {
    this.#short = createHost();
    this.#long = createHost();
  }

  /** Starts the lane for short tasks; resolves to why its Worker cannot be used, or undefined. */
  load(): Promise<string | undefined> {
    return this.#short.load();
  }

  /**
   * Does a task of so many characters in its lane, when its turn has come; never rejects.
   */
  run(request: Request, numChars: number): Promise<Outcome | HostProblem> {
    return (numChars <= SHORT_TASK_CHARS ? this.#short : this.#long).run(request, numChars);
  }

  /** Ends both Workers; tasks under way and waiting fail. Idempotent. */
  close(): void {
    this.#short.close();
    this.#long.close();
  }
}
