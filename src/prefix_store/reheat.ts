import { type Clock, systemClock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import { EngineUnavailableError, RequestError } from "../core/errors.ts";
import type { EnginePort } from "../core/engine_port.ts";
import type { Generation, GenerationRequest } from "../core/generation.ts";
import type { RequestId } from "../core/ids.ts";
import { isLongScope } from "../core/long_context.ts";
import type { ReheatProgress } from "../core/reheat_progress.ts";
import type { SamplingParams } from "../core/sampling_params.ts";
import type { FinishReason } from "../core/token_event.ts";
import { EventSpans } from "./event_spans.ts";
import type { HotPath } from "./hot_paths.ts";

/**
 * Silence after a request before the engine counts as idle: the next turn of a conversation may
 * come.
 */
const QUIET_MS = 500;
/** How often the engine is asked whether it is idle. */
const POLL_MS = 100;
/** Time between two lines of progress in the log. */
const REPORT_EVERY_MS = 10_000;

/** One token makes the engine compute the whole prompt; the answer is thrown away. */
const PARAMS: SamplingParams = {
  maxTokens: 1,
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  seed: 0,
  stopTokenIds: [],
};

/** The owner of its requests: they queue apart from those of API keys. */
const OWNER = "reheat";

/** What a reheat works with. */
export interface ReheatOptions {
  readonly engine: EnginePort;
  readonly log: Logger;
  readonly clock?: Clock;
  /**
   * Most tokens to compute, what prefixes share once; asked before each prefix. Default: any
   * number.
   */
  readonly maxTokens?: () => number;
}

/**
 * Computes prefixes again while the engine has nothing else to do, one at a time, in order.
 *
 * Any other request makes it give way: its own is aborted, and tried again when the engine has been
 * idle for a moment; the blocks that were computed by then are found in the cache.
 */
export class Reheat {
  readonly #options: Required<ReheatOptions>;
  readonly #spans = new EventSpans();
  /** Keys of prefixes that could not be computed. */
  readonly #leftOut = new Set<string>();
  #numAttempts = 0;
  #progress = { numPrefixesDone: 0, numPrefixesLeft: 0, numTokensDone: 0, numTokensLeft: 0 };
  #currentId: RequestId | undefined;
  #current: Generation | undefined;
  /** Another request came, or the server stops: the current attempt is to end. */
  #mustYield = false;
  #isStopped = false;
  #lastRequestMs = -Infinity;
  #lastReportMs = 0;
  #running: Promise<void> = Promise.resolve();
  #wake: () => void = () => {};

  constructor(options: ReheatOptions) {
    this.#options = { clock: systemClock, maxTokens: () => Infinity, ...options };
  }

  /** How far it is; all 0 before it starts. */
  get progress(): ReheatProgress {
    return this.#progress;
  }

  /**
   * Computes `paths` in order, after those of earlier starts; resolves when none is left, or at
   * {@link stop}. A prefix that has been left out before is left out again: it may have ended the
   * engine.
   */
  start(paths: readonly HotPath[]): Promise<void> {
    const wanted = paths.filter(({ key }) => !this.#leftOut.has(key));
    this.#progress.numPrefixesLeft += wanted.length;
    this.#progress.numTokensLeft += wanted.reduce((sum, { numTokens }) => sum + numTokens, 0);
    return this.#running = this.#running.then(() => this.#run(wanted));
  }

  /** To be called with each request before the engine gets it; those of the reheat are ignored. */
  giveWayTo(id: RequestId): void {
    if (id === this.#currentId) return;
    this.#lastRequestMs = this.#options.clock.now();
    this.#yield();
  }

  /** Whether event `seq` of the KV log came while a reheat was computing. Ask in rising order. */
  hasCaused(seq: number): boolean {
    return this.#spans.includes(seq);
  }

  /** Ends at once, whatever is left. Idempotent. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#yield();
    this.#wake();
    await this.#running;
  }

  async #run(paths: readonly HotPath[]): Promise<void> {
    if (paths.length === 0) return;
    const { clock, log } = this.#options;
    const beganMs = this.#lastReportMs = clock.now();
    const { numPrefixesLeft: prefixes, numTokensLeft: tokens } = this.#progress;
    log.info("reheat of the prefix cache starts", { prefixes, tokens });
    let numOwnTokens = 0;
    for (const path of paths) {
      numOwnTokens += path.numOwnTokens;
      // A pool that has become smaller since has no room for the coldest.
      let isDone: boolean | undefined = numOwnTokens > this.#options.maxTokens()
        ? false
        : undefined;
      while (isDone === undefined) {
        await this.#whenIdle();
        if (this.#isStopped) return;
        isDone = await this.#compute(path);
      }
      this.#count(path, isDone);
    }
    log.info("reheat of the prefix cache is done", {
      prefixes: this.#progress.numPrefixesDone,
      tokens: this.#progress.numTokensDone,
      seconds: (clock.now() - beganMs) / 1000,
    });
  }

  /** Whether the prefix is computed; undefined when it is to be tried again. */
  async #compute(path: HotPath): Promise<boolean | undefined> {
    const { engine, log } = this.#options;
    // A request may have come since the engine was seen idle; from here to submit() none can.
    if (!this.#isIdle()) return undefined;
    const prompt = path.toTokens();
    const id = this.#currentId = `reheat-${this.#numAttempts++}`;
    const span = this.#spans.open(engine.kvEvents.nextSeq);
    this.#mustYield = false;
    try {
      checkTokens(prompt, engine.info?.vocabSize ?? 0);
      checkLength(path.scope, engine.info?.shortContextLen);
      const reason = await this.#finish({
        id,
        sequences: [{ prompt, params: PARAMS }],
        isReheat: true,
        owner: OWNER,
        ...(path.scope === "" ? {} : { cacheScope: path.scope }),
      });
      if (reason === "abort") return undefined;
      // An engine that this prefix has ended must not meet it again and again.
      if (reason === "error") throw new Error("the engine failed while it computed it");
      return true;
    } catch (error) {
      if (error instanceof EngineUnavailableError || isQueueFull(error)) return undefined;
      const reason = error instanceof Error ? error.message : String(error);
      this.#leftOut.add(path.key);
      log.warn("reheat leaves a prefix out", { tokens: path.numTokens, reason });
      return false;
    } finally {
      span.until = engine.kvEvents.nextSeq;
      this.#currentId = undefined;
      this.#current = undefined;
    }
  }

  async #finish(request: GenerationRequest): Promise<FinishReason> {
    this.#current = await this.#options.engine.submit(request);
    if (this.#mustYield) this.#current.abort();
    let last: FinishReason = "error";
    for await (const events of this.#current.events) {
      for (const { finishReason } of events) last = finishReason ?? last;
    }
    return last;
  }

  #yield(): void {
    this.#mustYield = true;
    this.#current?.abort();
  }

  #count({ numTokens }: HotPath, isDone: boolean): void {
    const { clock, log } = this.#options;
    const progress = this.#progress;
    progress.numPrefixesLeft--;
    progress.numTokensLeft -= numTokens;
    if (isDone) {
      progress.numPrefixesDone++;
      progress.numTokensDone += numTokens;
    }
    if (progress.numPrefixesLeft === 0 || clock.now() - this.#lastReportMs < REPORT_EVERY_MS) {
      return;
    }
    this.#lastReportMs = clock.now();
    log.info("reheat of the prefix cache goes on", {
      prefixes_done: progress.numPrefixesDone,
      prefixes_left: progress.numPrefixesLeft,
    });
  }

  /** Resolves when the engine has had nothing to do for a moment, and at {@link stop}. */
  async #whenIdle(): Promise<void> {
    while (!this.#isStopped && !this.#isIdle()) {
      if (this.#options.engine.state === "failed") this.#isStopped = true;
      await new Promise<void>((resolve) => {
        const cancel = this.#options.clock.after(POLL_MS, resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
      });
    }
  }

  #isIdle(): boolean {
    const { engine, clock } = this.#options;
    return engine.state === "ready" && engine.numInFlight === 0 &&
      clock.now() - this.#lastRequestMs >= QUIET_MS;
  }
}

function isQueueFull(error: unknown): boolean {
  return error instanceof RequestError && error.data.status === 429;
}

/**
 * A store that passes all checks may still hold a spoiled number; a kernel would read out of
 * bounds.
 */
function checkTokens(tokens: Uint32Array, vocabSize: number): void {
  const wrong = tokens.find((token) => token >= vocabSize);
  if (wrong !== undefined) throw new RangeError(`token ${wrong} of a vocabulary of ${vocabSize}`);
}

/** A server whose sequences are all short has no angles for long ones. */
function checkLength(scope: string, shortContextLen: number | undefined): void {
  if (shortContextLen !== undefined || !isLongScope(scope)) return;
  throw new RangeError("its KV is that of sequences longer than --max-model-len");
}
