/** How far a start is, as `/health` and the window tell it. */
export interface StartSnapshot {
  /** The phase that runs, and of a long one how far it is: "load weights: 40 %". */
  readonly phase: string;
  /** Seconds since the start began. */
  readonly seconds: number;
}

/** The phases of a start as they begin. */
export class StartProgress {
  readonly #now: () => number;
  readonly #beganMs: number;
  #phase = "find the model";

  /** @param now monotonic time in ms. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#beganMs = now();
  }

  enter(phase: string): void {
    this.#phase = phase;
  }

  snapshot(): StartSnapshot {
    const seconds = (this.#now() - this.#beganMs) / 1000;
    return { phase: this.#phase, seconds: Number(seconds.toFixed(1)) };
  }
}
