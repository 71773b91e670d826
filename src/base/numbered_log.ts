import { invariant } from "./invariant.ts";

/** An item with its place in the log. */
export interface Numbered<T> {
  /** Counts up from 0 without holes. */
  readonly seq: number;
  readonly item: T;
}

/** Items a reader takes from the ring at a time. */
const READ_AHEAD = 64;

/**
 * The latest items of an endless sequence, numbered, for readers that come late or fall behind.
 *
 *     seq      ... 41 42 | 43 44 45 46 47 | 48        capacity 5
 *              forgotten |     kept       | next
 *
 * Appending costs O(1) per item. A reader sees items once and in order, straight from the ring: one
 * that is slower than the log turns over sees a jump in the numbers, and never makes the log grow.
 */
export class NumberedLog<T> {
  readonly #capacity: number;
  /** Ring: item `seq` lies at `seq % capacity`. */
  readonly #items: T[] = [];
  /** Settles when readers are to look again; made when one waits. */
  #woken: PromiseWithResolvers<void> | undefined;
  #nextSeq = 0;

  /** Keeps the latest `capacity` items, at least one. */
  constructor(capacity: number) {
    invariant(capacity >= 1, `a log of ${capacity} items`);
    this.#capacity = capacity;
  }

  /** The number that the next item gets. */
  get nextSeq(): number {
    return this.#nextSeq;
  }

  /** The number of the oldest item kept, or `nextSeq` when none is. */
  get firstSeq(): number {
    return this.#nextSeq - this.#items.length;
  }

  /** Adds items at the end; the oldest give way. */
  append(items: Iterable<T>): void {
    for (const item of items) {
      this.#items[this.#nextSeq % this.#capacity] = item;
      this.#nextSeq++;
    }
    this.#wake();
  }

  /** The items kept from number `seq` on, at most `limit` of them, oldest first. */
  from(seq: number, limit = Infinity): Numbered<T>[] {
    const first = Math.max(seq, this.firstSeq);
    const count = Math.max(0, Math.min(limit, this.#nextSeq - first));
    return Array.from({ length: count }, (_, i) => ({
      seq: first + i,
      item: this.#items[(first + i) % this.#capacity]!,
    }));
  }

  /**
   * The items kept from number `seq` on, then every later one as it comes, until `signal` aborts.
   */
  async *follow(seq: number, signal: AbortSignal): AsyncGenerator<Numbered<T>, void> {
    // Not by a race of promises: the one that never settles would keep every wait before.
    const wake = () => this.#wake();
    signal.addEventListener("abort", wake, { once: true });
    try {
      let next = seq;
      while (!signal.aborted) {
        for (const numbered of this.from(next, READ_AHEAD)) {
          next = numbered.seq + 1;
          yield numbered;
          if (signal.aborted) return;
        }
        if (next >= this.#nextSeq) await (this.#woken ??= Promise.withResolvers()).promise;
      }
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }

  /** Has all readers that wait look again. */
  #wake(): void {
    this.#woken?.resolve();
    this.#woken = undefined;
  }
}
