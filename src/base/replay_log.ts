import { AsyncQueue } from "./async_queue.ts";
import { invariant } from "./invariant.ts";

/** An item with its place in the log. */
export interface Numbered<T> {
  /** Counts up from 0 without holes. */
  readonly seq: number;
  readonly item: T;
}

/**
 * The latest items of an endless sequence, numbered, for readers that come late or fall behind.
 *
 *     seq      ... 41 42 | 43 44 45 46 47 | 48        capacity 5
 *              forgotten |     kept       | next
 *
 * Appending costs O(1) per item and reader. A reader sees every item from where it starts, once, in
 * order; if it starts before what is kept, it starts at the first that is.
 */
export class ReplayLog<T> {
  readonly #capacity: number;
  /** Ring: item `seq` lies at `seq % capacity`. */
  readonly #items: T[] = [];
  readonly #readers = new Set<AsyncQueue<Numbered<T>>>();
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
      const numbered = { seq: this.#nextSeq, item };
      this.#items[this.#nextSeq % this.#capacity] = item;
      this.#nextSeq++;
      for (const reader of this.#readers) reader.push(numbered);
    }
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

  /** The items kept from number `seq` on, then every later one as it comes. Leave the loop to stop. */
  follow(seq: number): AsyncIterable<Numbered<T>> {
    const reader: AsyncQueue<Numbered<T>> = new AsyncQueue(() => this.#readers.delete(reader));
    for (const numbered of this.from(seq)) reader.push(numbered);
    this.#readers.add(reader);
    return reader;
  }
}
