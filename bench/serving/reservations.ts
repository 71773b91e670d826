import type { ServedRequest } from "./serving_load.ts";

/** Lets requests in, in their order, as memory that is reserved in one piece would. */
export interface Reservations {
  /** Waits until a request may begin; what it returns is called when it has ended. */
  enter(request: ServedRequest): Promise<() => void>;
}

/** All at once: the server alone decides. */
export const UNRESERVED: Reservations = { enter: () => Promise.resolve(() => {}) };

/** So many at a time, and the next ones when all of these have ended: static batching. */
export class StaticBatches implements Reservations {
  readonly #size: number;
  #numEntered = 0;
  #numLeft = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(size: number) {
    this.#size = size;
  }

  async enter(): Promise<() => void> {
    const batch = Math.floor(this.#numEntered++ / this.#size);
    if (batch * this.#size > this.#numLeft) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return () => {
      if (++this.#numLeft % this.#size > 0) return;
      for (const begin of this.#waiting.splice(0, this.#size)) begin();
    };
  }
}

/** As many as have their whole length, prompt and answer, reserved in so many positions. */
export class ExactReservations implements Reservations {
  #numFree: number;
  readonly #waiting: { readonly length: number; readonly begin: () => void }[] = [];

  constructor(numPositions: number) {
    this.#numFree = numPositions;
  }

  async enter({ promptLen, outputLen }: ServedRequest): Promise<() => void> {
    const length = promptLen + outputLen;
    await new Promise<void>((begin) => {
      this.#waiting.push({ length, begin });
      this.#admit();
    });
    return () => {
      this.#numFree += length;
      this.#admit();
    };
  }

  #admit(): void {
    for (let next; (next = this.#waiting[0]) && next.length <= this.#numFree;) {
      this.#waiting.shift();
      this.#numFree -= next.length;
      next.begin();
    }
  }
}
