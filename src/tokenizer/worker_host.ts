import type { FromWorker, HostedWorker } from "./worker_messages.ts";

/** How long a Worker may take beyond a job's own deadline before it is given up. */
const GRACE_MS = 500;

/** How long a Worker may take to start and load. */
const LOAD_DEADLINE_MS = 10_000;

/** Jobs that wait at most, so that requests cannot pile up behind a slow one. */
const MAX_WAITING = 1024;

/** Most characters (or other `units`) of all waiting jobs, a bound on their memory. */
const MAX_WAITING_UNITS = 2 ** 24;

/** The failure of a job outside of the job itself. */
export interface HostProblem {
  /** `limit`: it took too long; `failed`: the Worker did not start, or ended. */
  readonly type: "busy" | "stopping" | "limit" | "failed";
  readonly message: string;
}

const STOPPING: HostProblem = { type: "stopping", message: "The server is stopping" };
const BUSY: HostProblem = {
  type: "busy",
  message: "Too many texts wait to be rendered or tokenized",
};

/** What every job carries: the Worker itself stops at `deadlineMs`. */
export interface HostedRequest {
  readonly limits: { readonly deadlineMs: number };
}

interface Job<Request, Outcome> {
  readonly request: Request;
  readonly units: number;
  readonly resolve: (outcome: Outcome | HostProblem) => void;
}

/** Settings of a {@link WorkerHost}; tests shorten and replace them. */
export interface WorkerHostOptions<Load, Request, Outcome> {
  readonly spawn: () => HostedWorker<Load, Request, Outcome>;
  readonly graceMs?: number;
  readonly loadDeadlineMs?: number;
  readonly maxWaiting?: number;
  readonly maxWaitingUnits?: number;
}

/**
 * A Worker that has loaded one thing (a template, a tokenizer), and the jobs that wait for it,
 * first come first served. The Worker starts with the first job, or with {@link WorkerHost.load}.
 *
 * A job stops by itself at its deadline. If the Worker does not answer even then, it is given up
 * and the next job gets a new one, so that jobs behind a stuck one only wait longer. (Deno 2.9.6
 * does not stop a Worker's busy loop on `terminate()`, so a stuck one costs a thread until exit.)
 * The clock of a job starts when the Worker gets it, not while it waits.
 */
export class WorkerHost<Load, Request extends HostedRequest, Outcome> {
  readonly #load: Load;
  readonly #options: Required<WorkerHostOptions<Load, Request, Outcome>>;
  readonly #waiting: Job<Request, Outcome>[] = [];
  #waitingUnits = 0;
  #current: Job<Request, Outcome> | undefined;
  #worker: HostedWorker<Load, Request, Outcome> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Resolves once the current Worker has loaded, or to the reason why it cannot. */
  #loaded: Promise<string | undefined> | undefined;
  #settleLoad: ((problem: string | undefined) => void) | undefined;
  #closed = false;

  /** @param load what each Worker is sent first. */
  constructor(load: Load, options: WorkerHostOptions<Load, Request, Outcome>) {
    this.#load = load;
    this.#options = {
      spawn: options.spawn,
      graceMs: options.graceMs ?? GRACE_MS,
      loadDeadlineMs: options.loadDeadlineMs ?? LOAD_DEADLINE_MS,
      maxWaiting: options.maxWaiting ?? MAX_WAITING,
      maxWaitingUnits: options.maxWaitingUnits ?? MAX_WAITING_UNITS,
    };
  }

  /** Starts a Worker unless one runs; resolves to why it cannot be used, or undefined. */
  load(): Promise<string | undefined> {
    return this.#loaded ??= this.#start();
  }

  /**
   * Does a job when its turn has come; never rejects.
   *
   * @param units characters that the job holds while it waits.
   */
  run(request: Request, units = 1): Promise<Outcome | HostProblem> {
    if (this.#closed) return Promise.resolve(STOPPING);
    const { maxWaiting, maxWaitingUnits } = this.#options;
    const isFull = this.#waiting.length >= maxWaiting ||
      (this.#waiting.length > 0 && this.#waitingUnits + units > maxWaitingUnits);
    if (isFull) return Promise.resolve(BUSY);
    return new Promise((resolve) => {
      this.#waiting.push({ request, units, resolve });
      this.#waitingUnits += units;
      this.#next();
    });
  }

  /** Ends the Worker; jobs under way and waiting fail. Idempotent. */
  close(): void {
    this.#closed = true;
    for (const job of this.#waiting.splice(0)) job.resolve(STOPPING);
    this.#giveUpWorker(STOPPING);
  }

  #start(): Promise<string | undefined> {
    const worker = this.#options.spawn();
    const { loadDeadlineMs } = this.#options;
    this.#worker = worker;
    this.#timer = setTimeout(
      () => this.#giveUpWorker(failed(`loading takes longer than ${loadDeadlineMs} ms`)),
      loadDeadlineMs,
    );
    worker.onmessage = ({ data }) => {
      if (worker === this.#worker) this.#receive(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      if (worker === this.#worker) this.#giveUpWorker(failed(event.message));
    };
    worker.postMessage({ type: "load", load: this.#load });
    return new Promise((resolve) => this.#settleLoad = resolve);
  }

  #receive(answer: FromWorker<Outcome>): void {
    clearTimeout(this.#timer);
    if (answer.type === "loaded") return this.#settleLoad?.(undefined);
    if (answer.type === "refused") return this.#giveUpWorker(failed(answer.message));
    const job = this.#current;
    this.#current = undefined;
    job?.resolve(answer.outcome);
    this.#next();
  }

  /** Hands the first waiting job to the Worker, unless it has one. */
  async #next(): Promise<void> {
    if (this.#current !== undefined) return;
    const job = this.#waiting.shift();
    if (job === undefined) return;
    this.#waitingUnits -= job.units;
    this.#current = job;
    const problem = await this.load();
    // A Worker given up has answered the job already.
    if (this.#current === job && problem === undefined) this.#post(job.request);
  }

  #post(request: Request): void {
    const { deadlineMs } = request.limits;
    this.#timer = setTimeout(
      () => this.#giveUpWorker({ type: "limit", message: `takes longer than ${deadlineMs} ms` }),
      deadlineMs + this.#options.graceMs,
    );
    this.#worker!.postMessage({ type: "run", request });
  }

  /** Drops the Worker: its job ends with `problem`, and waiting jobs get a new one. */
  #giveUpWorker(problem: HostProblem): void {
    clearTimeout(this.#timer);
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#loaded = undefined;
    this.#settleLoad?.(problem.message);
    const job = this.#current;
    this.#current = undefined;
    job?.resolve(problem);
    this.#next();
  }
}

function failed(message: string): HostProblem {
  return { type: "failed", message };
}
