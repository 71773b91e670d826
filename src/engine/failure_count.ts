import type { Clock } from "../base/clock.ts";

/** When to start a new isolate after one has failed. */
export interface RestartPolicy {
  /** Failures in a row after which the engine is given up; 0: never. */
  readonly maxNumFailures: number;
  /** Wait before the first restart, ms; doubles with each further one. */
  readonly initialDelayMs: number;
  /** Longest wait, ms. */
  readonly maxDelayMs: number;
  /**
   * Earlier failures are forgotten when an isolate makes a step this long after it was ready, ms.
   */
  readonly forgiveAfterMs: number;
}

/** A server's policy. */
export const DEFAULT_RESTART: RestartPolicy = {
  maxNumFailures: 5,
  initialDelayMs: 500,
  maxDelayMs: 30_000,
  forgiveAfterMs: 60_000,
};

/**
 * Failures of the engine in a row.
 *
 * A step alone ends no row, or what kills each isolate after its first step would be tried for
 * ever: an isolate has to complete an answer, or to make a step `forgiveAfterMs` after it was
 * ready.
 */
export class FailureCount {
  readonly #policy: RestartPolicy;
  readonly #clock: Pick<Clock, "now">;
  #count = 0;
  #readyAt = 0;

  constructor(policy: RestartPolicy, clock: Pick<Clock, "now">) {
    this.#policy = policy;
    this.#clock = clock;
  }

  /** Failures in the present row. */
  get count(): number {
    return this.#count;
  }

  /** Whether the engine may be given up at all. */
  get canGiveUp(): boolean {
    return this.#policy.maxNumFailures > 0;
  }

  /** Whether the engine is to be given up. */
  get isTooMany(): boolean {
    return this.canGiveUp && this.#count >= this.#policy.maxNumFailures;
  }

  /** How long to wait before the next start, ms. */
  get pauseMs(): number {
    const { initialDelayMs, maxDelayMs } = this.#policy;
    return Math.min(maxDelayMs, initialDelayMs * 2 ** (this.#count - 1));
  }

  /** An isolate can serve. */
  ready(): void {
    this.#readyAt = this.#clock.now();
  }

  /** It has made a step. */
  stepped(): void {
    if (this.#clock.now() - this.#readyAt >= this.#policy.forgiveAfterMs) this.#count = 0;
  }

  /** It has completed an answer. */
  answered(): void {
    this.#count = 0;
  }

  /** It has failed. */
  failed(): void {
    this.#count++;
  }
}
