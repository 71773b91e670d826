import type { FromRenderer, RenderRequest, RenderWorker } from "./template_messages.ts";
import type { RenderOutcome } from "./template_renderer.ts";

/** How long a Worker may take beyond a render's own deadline before it is given up. */
const GRACE_MS = 500;

/** How long a Worker may take to start and parse the template. */
const LOAD_DEADLINE_MS = 10_000;

/** Renders that wait at most, so that requests cannot pile up behind a slow template. */
const MAX_WAITING = 1024;

/** How a render ended, or why it never began. */
export type HostOutcome =
  | RenderOutcome
  | { readonly type: "busy" | "stopping"; readonly message: string };

/** A render that came to nothing. */
export type RenderProblem = Exclude<HostOutcome, { type: "rendered" }>;

const STOPPING: RenderProblem = { type: "stopping", message: "The server is stopping" };
const BUSY: RenderProblem = { type: "busy", message: "Too many conversations wait to be rendered" };

interface Job {
  readonly request: RenderRequest;
  readonly resolve: (outcome: HostOutcome) => void;
}

/** Settings of a {@link TemplateHost}; tests shorten and replace them. */
export interface TemplateHostOptions {
  readonly spawn?: () => RenderWorker;
  readonly graceMs?: number;
  readonly loadDeadlineMs?: number;
  readonly maxWaiting?: number;
}

/**
 * A Worker with one template in it, and the renders that wait for it, first come first served.
 *
 * A render stops by itself at its deadline. Should the Worker not answer even then, it is given up
 * and the next render gets a new one: those behind a stuck render only wait longer. (Deno 2.9.6 does
 * not stop a Worker's busy loop on `terminate()`, so a stuck one costs a thread until exit.) The
 * clock of a render starts when the Worker gets it, not while it waits.
 */
export class TemplateHost {
  readonly #source: string;
  readonly #options: Required<TemplateHostOptions>;
  readonly #waiting: Job[] = [];
  #current: Job | undefined;
  #worker: RenderWorker | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Resolves once the current Worker has parsed the template, or to why it has not. */
  #loaded: Promise<string | undefined> | undefined;
  #settleLoad: ((problem: string | undefined) => void) | undefined;
  #closed = false;

  constructor(source: string, options: TemplateHostOptions = {}) {
    this.#source = source;
    this.#options = {
      spawn: options.spawn ?? spawnWorker,
      graceMs: options.graceMs ?? GRACE_MS,
      loadDeadlineMs: options.loadDeadlineMs ?? LOAD_DEADLINE_MS,
      maxWaiting: options.maxWaiting ?? MAX_WAITING,
    };
  }

  /** Starts a Worker unless one runs; resolves to why the template cannot be used, or undefined. */
  load(): Promise<string | undefined> {
    return this.#loaded ??= this.#start();
  }

  /** Renders when its turn has come; never rejects. */
  render(request: RenderRequest): Promise<HostOutcome> {
    if (this.#closed) return Promise.resolve(STOPPING);
    if (this.#waiting.length >= this.#options.maxWaiting) return Promise.resolve(BUSY);
    return new Promise((resolve) => {
      this.#waiting.push({ request, resolve });
      this.#next();
    });
  }

  /** Ends the Worker; renders under way and waiting fail. Idempotent. */
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
      () => this.#giveUpWorker(failed(`parsing takes longer than ${loadDeadlineMs} ms`)),
      loadDeadlineMs,
    );
    worker.onmessage = ({ data }) => {
      if (worker === this.#worker) this.#receive(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      if (worker === this.#worker) this.#giveUpWorker(failed(event.message));
    };
    worker.postMessage({ type: "load", source: this.#source });
    return new Promise((resolve) => this.#settleLoad = resolve);
  }

  #receive(answer: FromRenderer): void {
    clearTimeout(this.#timer);
    if (answer.type === "loaded") return this.#settleLoad?.(undefined);
    if (answer.type === "refused") return this.#giveUpWorker(failed(answer.message));
    const job = this.#current;
    this.#current = undefined;
    job?.resolve(answer.outcome);
    this.#next();
  }

  /** Hands the first waiting render to the Worker, unless it has one. */
  async #next(): Promise<void> {
    if (this.#current !== undefined) return;
    const job = this.#waiting.shift();
    if (job === undefined) return;
    this.#current = job;
    const problem = await this.load();
    // A Worker given up has answered the job already.
    if (this.#current === job && problem === undefined) this.#post(job.request);
  }

  #post(request: RenderRequest): void {
    const { deadlineMs } = request.limits;
    this.#timer = setTimeout(
      () => this.#giveUpWorker({ type: "limit", message: `takes longer than ${deadlineMs} ms` }),
      deadlineMs + this.#options.graceMs,
    );
    this.#worker!.postMessage({ type: "render", request });
  }

  /** Drops the Worker: what it has to do ends with `problem`, and what waits gets a new one. */
  #giveUpWorker(problem: RenderProblem): void {
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

function failed(message: string): RenderProblem {
  return { type: "failed", message };
}

/** Permissions stay the server's: to withhold them from a Worker needs an unstable flag. */
function spawnWorker(): RenderWorker {
  return new Worker(new URL("./chat_template_worker.ts", import.meta.url), { type: "module" });
}
