import type { HostedRequest, HostProblem, WorkerHost } from "./worker_host.ts";

/** Longest job of the lane for short ones, characters: some tenths of a second's work. */
export const SHORT_JOB_UNITS = 2 ** 16;

/**
 * Two Workers of one kind, one for short jobs and one for long ones, so that a short job never
 * waits behind a long one. Each starts when it is first needed.
 */
export class WorkerLanes<Load, Request extends HostedRequest, Outcome> {
  readonly #short: WorkerHost<Load, Request, Outcome>;
  readonly #long: WorkerHost<Load, Request, Outcome>;

  constructor(createHost: () => WorkerHost<Load, Request, Outcome>) {
    this.#short = createHost();
    this.#long = createHost();
  }

  /** Starts the lane for short jobs; resolves to why its Worker cannot be used, or undefined. */
  load(): Promise<string | undefined> {
    return this.#short.load();
  }

  /**
   * Does a job of `units` characters in its lane, when its turn has come; never rejects.
   */
  run(request: Request, units: number): Promise<Outcome | HostProblem> {
    return (units <= SHORT_JOB_UNITS ? this.#short : this.#long).run(request, units);
  }

  /** Ends both Workers; jobs under way and waiting fail. Idempotent. */
  close(): void {
    this.#short.close();
    this.#long.close();
  }
}
