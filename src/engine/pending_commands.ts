import { EngineUnavailableError, type ErrorData, RequestError } from "../core/errors.ts";

/** A caller that waits for a reply. */
interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Commands that the main isolate has sent and that the engine has not replied to. */
export class PendingCommands {
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 0;

  /** Enters a command; returns its number and the promise of its reply. */
  open(): { readonly id: number; readonly reply: Promise<unknown> } {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#waiting.set(id, { resolve, reject });
    return { id, reply: promise };
  }

  /** The engine has replied; `error` when it refused. Unknown ids have been failed already. */
  settle(id: number, value: unknown, error: ErrorData | undefined): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(value);
    else waiting?.reject(new RequestError(error.message, error));
  }

  /** No reply will come any more: each is rejected as unavailable. */
  failAll(reason: string): void {
    for (const { reject } of this.#waiting.values()) reject(new EngineUnavailableError(reason));
    this.#waiting.clear();
  }
}
