import type { FromWorker, HostedWorker } from "./worker_messages.ts";

/** How long a Worker may take beyond a task's own deadline before it is given up. */
const GRACE_MS = 500;

/** How long a Worker may take to start and load. */
const LOAD_DEADLINE_MS = 10_000;

/** Tasks that wait at most, so that requests cannot pile up behind a slow one. */
const MAX_WAITING = 1024;

/** Most characters of all waiting tasks, a bound on their memory. */
const MAX_WAITING_CHARS = 2 ** 24;

/** The failure of a task outside of the task itself. */
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

/** What every task carries: the Worker itself stops at `deadlineMs`. */
export interface HostedRequest {
  readonly limits: { readonly deadlineMs: number };
}

interface Task<Request, Outcome> {
  readonly request: Request;
  readonly numChars: number;
  readonly resolve: (outcome: Outcome | HostProblem) => void;
}

/** Settings of a {@link WorkerHost}; tests shorten and replace them. */
export interface WorkerHostOptions<Load, Request, Outcome> {
  readonly spawn: () => HostedWorker<Load, Request, Outcome>;
  readonly graceMs?: number;
  readonly loadDeadlineMs?: number;
  readonly maxWaiting?: number;
  readonly maxWaitingChars?: number;
}

/**
 * A Worker that has loaded one thing (a template, a tokenizer), and the tasks that wait for it,
 * first come first served. The Worker starts with the first task, or with {@link WorkerHost.load}.
 *
 * A task stops by itself at its deadline. If the Worker does not answer even then, it is given up
 * and the next task gets a new one, so that tasks behind a stuck one only wait longer. (Deno 2.9.6
 * does not stop a Worker's busy loop on `terminate()`, so a stuck one costs a thread until exit.)
 * The clock of a task starts when the Worker gets it, not while it waits.
 */
export class WorkerHost<Load, Request extends HostedRequest, Outcome> {
  readonly #load: Load;
  readonly #options: Required<WorkerHostOptions<Load, Request, Outcome>>;
  readonly #waiting: Task<Request, Outcome>[] = [];
  #waitingChars = 0;
  #current: Task<Request, Outcome> | undefined;
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
      maxWaitingChars: options.maxWaitingChars ?? MAX_WAITING_CHARS,
    };
  }

  /** Starts a Worker unless one runs; resolves to why it cannot be used, or undefined. */
  load(): Promise<string | undefined> {
    return this.#loaded ??= this.#start();
  }

  /**
   * Does a task when its turn has come; never rejects.
   *
   * @param numChars characters that the task holds while it waits.
   */
  run(request: Request, numChars = 1): Promise<Outcome | HostProblem> {
    if (this.#closed) return Promise.resolve(STOPPING);
    const { maxWaiting, maxWaitingChars } = this.#options;
    const isFull = this.#waiting.length >= maxWaiting ||
      (this.#waiting.length > 0 && this.#waitingChars + numChars > maxWaitingChars);
    if (isFull) return Promise.resolve(BUSY);
    return new Promise((resolve) => {
      this.#waiting.push({ request, numChars, resolve });
      this.#waitingChars += numChars;
      this.#next();
    });
  }

  /** Ends the Worker; tasks under way and waiting fail. Idempotent. */
  close(): void {
    this.#closed = true;
    for (const task of this.#waiting.splice(0)) task.resolve(STOPPING);
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
    const task = this.#current;
    this.#current = undefined;
    task?.resolve(answer.outcome);
    this.#next();
  }

  /** Hands the first waiting task to the Worker, unless it has one. */
  async #next(): Promise<void> {
    if (this.#current !== undefined) return;
    const task = this.#waiting.shift();
    if (task === undefined) return;
    this.#waitingChars -= task.numChars;
    this.#current = task;
    const problem = await this.load();
    // A Worker given up has answered the task already.
    if (this.#current === task && problem === undefined) this.#post(task.request);
  }

  #post(request: Request): void {
    const { deadlineMs } = request.limits;
    this.#timer = setTimeout(
      () => this.#giveUpWorker({ type: "limit", message: `takes longer than ${deadlineMs} ms` }),
      deadlineMs + this.#options.graceMs,
    );
    this.#worker!.postMessage({ type: "run", request });
  }

  /** Drops the Worker: its task ends with `problem`, and waiting tasks get a new one. */
  #giveUpWorker(problem: HostProblem): void {
    clearTimeout(this.#timer);
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#loaded = undefined;
    this.#settleLoad?.(problem.message);
    const task = this.#current;
    this.#current = undefined;
    task?.resolve(problem);
    this.#next();
  }
}

function failed(message: string): HostProblem {
  return { type: "failed", message };
}
