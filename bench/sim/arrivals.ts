import type { Load, Session } from "./load.ts";

/** The next turn of a session, and when it arrives. */
export interface Due {
  readonly atMs: number;
  readonly session: Session;
  /** Which of its turns. */
  readonly at: number;
}

/** The turns to come in the order in which they arrive, equal times in order of entry. */
export class Arrivals {
  /** A binary heap. */
  readonly #heap: (Due & { readonly order: number })[] = [];
  #numEntered = 0;

  /** The first turns of all sessions. */
  constructor({ sessions }: Load) {
    for (const session of sessions) this.enter(session, 0, 0);
  }

  /** When the next turn arrives; undefined when none is known. */
  get nextMs(): number | undefined {
    return this.#heap[0]?.atMs;
  }

  /** Enters turn `at` of a session, if it has one, at its gap after `nowMs`. */
  enter(session: Session, at: number, nowMs: number): void {
    const turn = session.turns[at];
    if (turn === undefined) return;
    const entry = { atMs: nowMs + turn.gapMs, session, at, order: this.#numEntered++ };
    const heap = this.#heap;
    let place = heap.length;
    heap.push(entry);
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (isBefore(heap[parent]!, entry)) break;
      heap[place] = heap[parent]!;
      place = parent;
    }
    heap[place] = entry;
  }

  /** Takes the next turn, if it has arrived by then. */
  take(nowMs: number): Due | undefined {
    const heap = this.#heap;
    const first = heap[0];
    if (first === undefined || first.atMs > nowMs) return undefined;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (isBefore(last, heap[child]!)) break;
      heap[place] = heap[child]!;
      place = child;
    }
    heap[place] = last;
    return first;
  }
}

function isBefore(
  a: { readonly atMs: number; readonly order: number },
  b: { readonly atMs: number; readonly order: number },
): boolean {
  return a.atMs < b.atMs || a.atMs === b.atMs && a.order < b.order;
}
