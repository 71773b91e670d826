import { invariant } from "./invariant.ts";

/**
 * Hands items from whoever pushes them to one loop that awaits them, in order and without loss.
 *
 * Iterate it once. Items pushed before the loop asks are kept; after `close` the loop gets what is
 * left and ends. When the loop is left early, what is left is dropped and `onAbandon` is called.
 */
export class AsyncQueue<T> implements AsyncIterable<T> {
  readonly #onAbandon: () => void;
  readonly #items: T[] = [];
  #isClosed = false;
  #isIterated = false;
  #resolveNext: ((result: IteratorResult<T>) => void) | undefined;

  constructor(onAbandon: () => void = () => {}) {
    this.#onAbandon = onAbandon;
  }

  /** Adds an item at the end; after `close` it is dropped. */
  push(item: T): void {
    if (this.#isClosed) return;
    if (this.#resolveNext === undefined) this.#items.push(item);
    else this.#settle({ done: false, value: item });
  }

  /** Says that no more items come. */
  close(): void {
    this.#isClosed = true;
    if (this.#resolveNext !== undefined) this.#settle({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    invariant(!this.#isIterated, "a queue is iterated twice");
    this.#isIterated = true;
    return {
      next: () => this.#next(),
      return: () => {
        this.#items.length = 0;
        this.close();
        this.#onAbandon();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  #next(): Promise<IteratorResult<T>> {
    invariant(this.#resolveNext === undefined, "two loops await one queue");
    if (this.#items.length > 0) {
      return Promise.resolve({ done: false, value: this.#items.shift()! });
    }
    if (this.#isClosed) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#resolveNext = resolve);
  }

  #settle(result: IteratorResult<T>): void {
    const resolve = this.#resolveNext!;
    this.#resolveNext = undefined;
    resolve(result);
  }
}
