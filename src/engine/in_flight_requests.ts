import { AsyncQueue } from "../base/async_queue.ts";
import type { Clock } from "../base/clock.ts";
import { type ErrorData, RequestError } from "../core/errors.ts";
import type { Generation, GenerationRequest } from "../core/generation.ts";
import type { RequestId } from "../core/ids.ts";
import type { TokenEvent } from "../core/token_event.ts";
import { timeoutPassed } from "../scheduler/deadlines.ts";
import { KeptRequest } from "./kept_request.ts";
import { LOST_TOO_OFTEN, rejection } from "./loss_errors.ts";

/** A request on its way: submitted, perhaps accepted, not ended. */
interface InFlightRequest {
  readonly id: RequestId;
  readonly kept: KeptRequest;
  readonly queue: AsyncQueue<readonly TokenEvent[]>;
  readonly accept: () => void;
  readonly refuse: (error: Error) => void;
  isAccepted: boolean;
  /** Whether an engine has had it. */
  hasBeenHandedOver: boolean;
}

/** What the requests in flight need of the engine and its client. */
export interface InFlightOptions {
  /** Hands a request to the engine. */
  readonly submit: (request: GenerationRequest) => void;
  /** Tells the engine to end a sequence, or all sequences, of a request that it has. */
  readonly abort: (id: RequestId, index?: number) => void;
  /** A sequence has ended because its timeout passed while no engine had it. */
  readonly onTimeout: () => void;
  readonly clock: Clock;
}

/** What becomes of the requests of an engine that is lost. */
export interface LostRequests {
  /** Kept for the next engine. */
  readonly numKept: number;
  /** Ended with an error. */
  readonly numFailed: number;
}

/**
 * The requests that callers have submitted and that have not ended: it turns the engine's messages
 * into one stream of events per request, and hands over to the next engine what one that is lost
 * leaves behind.
 *
 *     open -> held -- hand over --> with the engine -- last event --> gone
 *               ^------- disconnect ------'
 *
 * A request stays until each of its sequences has ended, even when its listener has gone.
 */
export class InFlightRequests {
  readonly #options: InFlightOptions;
  /** In order of arrival. */
  readonly #requests = new Map<RequestId, InFlightRequest>();
  /** Those that no engine has, in that order. */
  #held: InFlightRequest[] = [];
  #isConnected = false;
  /** The suspect that the engine has alone, until it draws a token; see {@link KeptRequest}. */
  #onTrial: InFlightRequest | undefined;
  readonly #onEmpty: (() => void)[] = [];
  #cancelDeadline: () => void = () => {};

  constructor(options: InFlightOptions) {
    this.#options = options;
  }

  /** Requests that have not ended. */
  get size(): number {
    return this.#requests.size;
  }

  /** Sequences, not ended, that no engine has. O(requests held). */
  get numSequencesHeld(): number {
    return this.#held.reduce((sum, { kept }) => sum + kept.numUnfinished, 0);
  }

  /** An engine is ready: it gets all that is held, in order of arrival. */
  connect(): void {
    this.#isConnected = true;
    this.#handOver();
    this.#watchDeadlines();
  }

  /**
   * The engine is lost, and with it what it had not reported. Sequences that their client has
   * aborted end; requests that too many engines were lost with, or that are not resumed, end with
   * an error; the others are held for the next engine.
   *
   * @param error of those that are not resumed.
   */
  disconnect(error: ErrorData): LostRequests {
    this.#isConnected = false;
    this.#onTrial = undefined;
    let numFailed = 0;
    for (const request of [...this.#requests.values()]) {
      const { kept } = request;
      kept.countLoss();
      this.#endAborted(request);
      const isFailed = kept.isHopeless || !kept.isResumable;
      if (!isFailed || !this.#requests.has(request.id)) continue;
      numFailed++;
      this.#fail(request, kept.isHopeless ? LOST_TOO_OFTEN : error);
    }
    this.#held = [...this.#requests.values()];
    this.#watchDeadlines();
    return { numKept: this.#requests.size, numFailed };
  }

  /**
   * Ends the requests that the lost engine had admitted and got no token of: it is likely lost by
   * one of them.
   */
  dropUnanswered(error: ErrorData): void {
    for (const request of [...this.#held]) {
      if (request.kept.isUnanswered) this.#fail(request, error);
    }
  }

  /**
   * Enters a request and hands it to the engine; the promise settles with the engine's reply.
   *
   * @throws {RequestError} when a request of this id has not ended yet. Nothing has changed.
   */
  open(asked: GenerationRequest): Promise<Generation> {
    const { id } = asked;
    if (this.#requests.has(id)) {
      throw new RequestError(`A request with id ${JSON.stringify(id)} is in flight already`, {
        code: "duplicate_request_id",
      });
    }
    const kept = new KeptRequest(asked, this.#options.clock.now());
    const abort = (index?: number) => this.#abort(id, kept, index);
    const queue = new AsyncQueue<readonly TokenEvent[]>(abort);
    return new Promise((resolve, reject) => {
      const request: InFlightRequest = {
        ...{ id, kept, queue, refuse: reject },
        accept: () => resolve({ events: queue, abort }),
        isAccepted: false,
        hasBeenHandedOver: false,
      };
      this.#requests.set(id, request);
      this.#held.push(request);
      this.#handOver();
      this.#watchDeadlines();
    });
  }

  /** The engine has queued the request. */
  accept(id: RequestId): void {
    const request = this.#requests.get(id);
    if (request === undefined) return;
    request.isAccepted = true;
    request.accept();
  }

  /** The engine has refused the request; one that another had accepted ends with the error. */
  refuse(id: RequestId, error: ErrorData): void {
    const request = this.#requests.get(id);
    if (request !== undefined) this.#fail(request, error);
  }

  /** The engine has admitted these requests to the step that it is about to run. */
  admit(ids: readonly RequestId[]): void {
    for (const id of ids) this.#requests.get(id)?.kept.admit();
  }

  /** Hands the events of one step to the requests they are of. */
  deliver(events: readonly TokenEvent[]): void {
    for (const [id, own] of Map.groupBy(events, ({ requestId }) => requestId)) {
      const request = this.#requests.get(id);
      if (request === undefined) continue;
      request.queue.push(own);
      for (const event of own) request.kept.take(event);
      if (request.kept.numUnfinished === 0) {
        request.queue.close();
        this.#remove(request);
      }
      if (request === this.#onTrial && !request.kept.isSuspect) this.#endTrial();
    }
  }

  /**
   * Ends everything: each unfinished sequence with `error`; submissions without a reply are
   * refused.
   */
  failAll(error: ErrorData): void {
    this.#isConnected = false;
    for (const request of [...this.#requests.values()]) this.#fail(request, error);
  }

  /** Resolves as soon as no request is in flight. */
  whenEmpty(): Promise<void> {
    if (this.#requests.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onEmpty.push(resolve));
  }

  /** The suspects first, one at a time, and then all others at once. */
  #handOver(): void {
    if (!this.#isConnected || this.#onTrial !== undefined) return;
    const suspect = this.#held.find(({ kept }) => kept.isSuspect);
    const next = suspect === undefined ? this.#held : [suspect];
    this.#onTrial = suspect;
    this.#held = suspect === undefined ? [] : this.#held.filter((other) => other !== suspect);
    const { submit, clock } = this.#options;
    for (const request of next) {
      const { kept, hasBeenHandedOver } = request;
      request.hasBeenHandedOver = true;
      submit(hasBeenHandedOver ? kept.resumed(clock.now()) : kept.asked);
    }
  }

  #endTrial(): void {
    this.#onTrial = undefined;
    this.#handOver();
    this.#watchDeadlines();
  }

  #abort(id: RequestId, kept: KeptRequest, index: number | undefined): void {
    const request = this.#requests.get(id);
    if (request?.kept !== kept) return;
    kept.abort(index);
    if (this.#held.includes(request)) this.#endAborted(request);
    else this.#options.abort(id, index);
  }

  /** Ends what the client has aborted of a request that no engine has. */
  #endAborted({ id: requestId, kept }: InFlightRequest): void {
    const ends = kept.unwanted.map((index) => {
      return { requestId, index, finishReason: "abort" } as const;
    });
    if (ends.length > 0) this.deliver(ends);
  }

  #fail(request: InFlightRequest, error: ErrorData): void {
    const { id: requestId, kept, isAccepted, refuse } = request;
    if (!isAccepted) {
      refuse(rejection(error));
      return this.#remove(request);
    }
    const end = { requestId, finishReason: "error", error } as const;
    this.deliver(kept.unfinished.map((index) => ({ ...end, index })));
  }

  /** Ends what is held too long: no engine looks at its deadline. */
  #watchDeadlines(): void {
    this.#cancelDeadline();
    const deadlines = this.#held.flatMap(({ kept: { deadlineMs } }) => deadlineMs ?? []);
    if (deadlines.length === 0) return;
    const { clock } = this.#options;
    const waitMs = Math.max(0, Math.min(...deadlines) - clock.now());
    this.#cancelDeadline = clock.after(waitMs, () => {
      const now = clock.now();
      const overdue = this.#held.filter(({ kept }) => (kept.deadlineMs ?? Infinity) <= now);
      for (const request of overdue) this.#endOverdue(request);
      this.#watchDeadlines();
    });
  }

  #endOverdue(request: InFlightRequest): void {
    const { kept } = request;
    const { unfinished } = kept;
    const numTokens = Math.max(...unfinished.map((index) => kept.numTokensOf(index)));
    unfinished.forEach(() => this.#options.onTimeout());
    this.#fail(request, timeoutPassed(kept.timeoutMs!, numTokens, "the engine was replaced"));
  }

  #remove(request: InFlightRequest): void {
    this.#requests.delete(request.id);
    const at = this.#held.indexOf(request);
    if (at >= 0) this.#held.splice(at, 1);
    if (request === this.#onTrial) this.#endTrial();
    if (this.#requests.size > 0) return;
    this.#cancelDeadline();
    for (const resolve of this.#onEmpty.splice(0)) resolve();
  }
}
