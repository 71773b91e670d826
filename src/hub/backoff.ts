/** Waits `ms`; rejects at once when `signal` aborts. */
export type Pause = (ms: number, signal?: AbortSignal) => Promise<void>;

/** How failures of one request are repeated. */
export interface BackoffOptions {
  readonly pause?: Pause;
  /** Draws from [0, 1). */
  readonly random?: () => number;
  /** Failures in a row, without progress, after which the last one is thrown. */
  readonly maxNumFailures?: number;
  /** A pause that a user would wonder about begins, ms. */
  readonly onLongPause?: (ms: number, error: unknown) => void;
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 20_000;
/** A server that asks to wait longer is not waited for. */
const LONGEST_RETRY_AFTER_MS = 300_000;
/** A pause from here on is told. */
const LONG_PAUSE_MS = 5000;
const MAX_NUM_FAILURES = 5;

/**
 * Pauses between the tries of one request: doubling, and between half and the whole of that at
 * random, so that clients that failed together do not return together. What makes progress may fail
 * any number of times, which retry packages do not count.
 */
export class Backoff {
  readonly #pause: Pause;
  readonly #random: () => number;
  readonly #maxNumFailures: number;
  readonly #onLongPause: (ms: number, error: unknown) => void;
  #numFailures = 0;

  constructor(options: BackoffOptions = {}) {
    this.#pause = options.pause ?? pauseFor;
    this.#random = options.random ?? Math.random;
    this.#maxNumFailures = options.maxNumFailures ?? MAX_NUM_FAILURES;
    this.#onLongPause = options.onLongPause ?? (() => {});
  }

  /** Something arrived: earlier failures count no more. */
  progress(): void {
    this.#numFailures = 0;
  }

  /**
   * Waits before the next try, at least as long as the server asks for.
   *
   * @param maxNumFailures a smaller bound for this kind of failure.
   * @throws `error` when it was tried often enough, or the server asks for too long a wait.
   */
  async afterFailure(
    error: unknown,
    { retryAfterMs = 0, signal, maxNumFailures = this.#maxNumFailures }: {
      readonly retryAfterMs?: number | undefined;
      readonly signal?: AbortSignal | undefined;
      readonly maxNumFailures?: number;
    } = {},
  ): Promise<void> {
    this.#numFailures++;
    if (this.#numFailures >= Math.min(maxNumFailures, this.#maxNumFailures)) throw error;
    if (retryAfterMs > LONGEST_RETRY_AFTER_MS) throw error;
    const full = Math.min(FIRST_PAUSE_MS * 2 ** (this.#numFailures - 1), LONGEST_PAUSE_MS);
    const ms = Math.max(retryAfterMs, full * (1 + this.#random()) / 2);
    if (ms >= LONG_PAUSE_MS) this.#onLongPause(ms, error);
    await this.#pause(ms, signal);
  }
}

/** The default {@link Pause}. */
export function pauseFor(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", abort, { once: true });
  });
}
