import { AsyncQueue } from "../base/async_queue.ts";
import { EngineUnavailableError, type ErrorData, RequestError } from "../core/errors.ts";
import type { Generation, GenerationRequest } from "../core/generation.ts";
import type { RequestId } from "../core/ids.ts";
import type { TokenEvent } from "../core/token_event.ts";

/** A request on its way: submitted, perhaps accepted, not ended. */
interface InFlightRequest {
  readonly queue: AsyncQueue<readonly TokenEvent[]>;
  /** Indices of the sequences that have not ended. */
  readonly unfinished: Set<number>;
  readonly accept: () => void;
  readonly refuse: (error: Error) => void;
  isAccepted: boolean;
}

/**
 * The requests that the main isolate has handed to the engine and that have not ended: it turns the
 * engine's messages into one stream of events per request.
 *
 * A request stays until each of its sequences has ended, even when its listener has gone.
 */
export class InFlightRequests {
  readonly #abort: (id: RequestId, index?: number) => void;
  readonly #requests = new Map<RequestId, InFlightRequest>();
  readonly #onEmpty: (() => void)[] = [];

  /** `abort` tells the engine to end a sequence, or all sequences, of a request. */
  constructor(abort: (id: RequestId, index?: number) => void) {
    this.#abort = abort;
  }

  /** Requests that have not ended. */
  get size(): number {
    return this.#requests.size;
  }

  /**
   * Enters a request; the promise settles with the engine's answer.
   *
   * @throws {RequestError} when a request of this id has not ended yet. Nothing has changed.
   */
  open({ id, sequences }: GenerationRequest): Promise<Generation> {
    if (this.#requests.has(id)) {
      throw new RequestError(`A request with id ${JSON.stringify(id)} is in flight already`, {
        code: "duplicate_request_id",
      });
    }
    const abort = (index?: number) => {
      if (this.#requests.has(id)) this.#abort(id, index);
    };
    const queue = new AsyncQueue<readonly TokenEvent[]>(abort);
    return new Promise((resolve, reject) => {
      this.#requests.set(id, {
        queue,
        unfinished: new Set(sequences.keys()),
        accept: () => resolve({ events: queue, abort }),
        refuse: reject,
        isAccepted: false,
      });
    });
  }

  /** The engine has queued the request. */
  accept(id: RequestId): void {
    const request = this.#requests.get(id);
    if (request === undefined) return;
    request.isAccepted = true;
    request.accept();
  }

  /** The engine has refused the request. */
  refuse(id: RequestId, error: ErrorData): void {
    this.#requests.get(id)?.refuse(new RequestError(error.message, error));
    this.#remove(id);
  }

  /** Hands the events of one step to the requests they are of. */
  deliver(events: readonly TokenEvent[]): void {
    for (const [id, own] of Map.groupBy(events, ({ requestId }) => requestId)) {
      const request = this.#requests.get(id);
      if (request === undefined) continue;
      request.queue.push(own);
      for (const { index, finishReason } of own) {
        if (finishReason !== undefined) request.unfinished.delete(index);
      }
      if (request.unfinished.size === 0) {
        request.queue.close();
        this.#remove(id);
      }
    }
  }

  /**
   * Ends everything: each unfinished sequence with `error`; submissions without an answer are
   * refused.
   */
  failAll(error: ErrorData): void {
    for (const [requestId, { isAccepted, refuse, unfinished }] of [...this.#requests]) {
      if (isAccepted) {
        const end = { requestId, finishReason: "error", error } as const;
        this.deliver([...unfinished].map((index) => ({ ...end, index })));
      } else {
        refuse(new EngineUnavailableError(error.message));
        this.#remove(requestId);
      }
    }
  }

  /** Resolves as soon as no request is in flight. */
  whenEmpty(): Promise<void> {
    if (this.#requests.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onEmpty.push(resolve));
  }

  #remove(id: RequestId): void {
    this.#requests.delete(id);
    if (this.#requests.size > 0) return;
    for (const resolve of this.#onEmpty.splice(0)) resolve();
  }
}
