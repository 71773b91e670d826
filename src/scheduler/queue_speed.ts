/** How far back speed is measured, in changes of the queue. */
const WINDOW = 64;
/** Bounds of what a client is told, in seconds. */
const MIN_SECONDS = 1;
const MAX_SECONDS = 600;

/** How many had left the queue at a time. */
interface Sample {
  readonly nowMs: number;
  readonly numLeft: number;
}

/** How fast groups have left the queue of late, and so when there will be room in it. */
export class QueueSpeed {
  /** Oldest first; those that came back to the queue by preemption have not left it. */
  #samples: Sample[] = [];

  /** At this time so many have left the queue in all, and so many wait. */
  observe(nowMs: number, numLeft: number, numWaiting: number): void {
    // What happens after an idle time says nothing about the one before it.
    if (numWaiting === 0) this.#samples = [];
    else if (numLeft !== this.#samples.at(-1)?.numLeft) {
      this.#samples.push({ nowMs, numLeft });
      if (this.#samples.length > WINDOW) this.#samples.shift();
    }
  }

  /**
   * Seconds until `numPlaces` more have left the queue at its speed up to now; as long as it has
   * stood still, where none has left it.
   */
  secondsUntil(numPlaces: number, nowMs: number): number {
    const first = this.#samples[0];
    if (first === undefined) return MIN_SECONDS;
    const numLeft = this.#samples.at(-1)!.numLeft - first.numLeft;
    const elapsed = (nowMs - first.nowMs) / 1000;
    const seconds = Math.ceil(numLeft > 0 ? numPlaces * elapsed / numLeft : elapsed);
    return Math.max(MIN_SECONDS, Math.min(MAX_SECONDS, seconds));
  }
}
