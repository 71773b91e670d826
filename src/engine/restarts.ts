import type { Clock } from "../base/clock.ts";
import type { Outage } from "../core/engine_port.ts";
import { FailureCount, type RestartPolicy } from "./failure_count.ts";
import type { IsolateHandle } from "./isolate_handle.ts";

/**
 * As many threads that cannot be ended, in a loop or a driver's call, are the end: no other starts.
 */
const MAX_STUCK_THREADS = 2;

/** Least time for the thread of an isolate that hung to end before it counts as stuck, ms. */
const MIN_PAUSE_AFTER_HANG_MS = 2000;

/** What comes after an isolate that has failed. */
export interface Successor {
  /** Whether it has hung, so that its thread may go on. */
  readonly isHung: boolean;
  /** Starts another; told whether the thread of the one before cannot be ended. */
  readonly start: (isStuck: boolean) => void;
  /** Starts none, since so many threads cannot be ended. */
  readonly giveUp: (numStuck: number) => void;
}

/** When another isolate is started in place of one that has failed, and when none is. */
export class Restarts {
  readonly #policy: RestartPolicy;
  readonly #clock: Clock;
  readonly #failures: FailureCount;
  /** Isolates that were told to end and whose threads may still run. */
  #ending: IsolateHandle[] = [];
  #numRestarts = 0;
  #failedAtMs: number | undefined;
  #nextTryAtMs: number | undefined;
  #cancel: () => void = () => {};

  constructor(policy: RestartPolicy, clock: Clock) {
    this.#policy = policy;
    this.#clock = clock;
    this.#failures = new FailureCount(policy, clock);
  }

  /** Isolates started so far in place of one that had failed. */
  get numRestarts(): number {
    return this.#numRestarts;
  }

  /** Present between the failure of an isolate and the moment at which the next can serve. */
  get outage(): Outage | undefined {
    if (this.#failedAtMs === undefined) return undefined;
    const { maxNumFailures } = this.#policy;
    const now = this.#clock.now();
    return {
      elapsedMs: now - this.#failedAtMs,
      numFailures: this.#failures.count,
      ...(maxNumFailures === 0 ? {} : { maxNumFailures: maxNumFailures }),
      ...(this.#nextTryAtMs === undefined
        ? {}
        : { nextTryMs: Math.max(0, this.#nextTryAtMs - now) }),
    };
  }

  /** An isolate can serve. */
  ready(): void {
    this.#failures.ready();
    this.#failedAtMs = undefined;
  }

  /** It has made a step. */
  stepped(): void {
    this.#failures.stepped();
  }

  /** It has completed an answer. */
  answered(): void {
    this.#failures.answered();
  }

  /**
   * An isolate has failed; returns whether no other is to be started.
   *
   * @param isUsersMistake whether another start would fail in the same way.
   */
  failed(isUsersMistake: boolean): boolean {
    this.#failures.failed();
    this.#failedAtMs ??= this.#clock.now();
    return this.#failures.isTooMany || (isUsersMistake && this.#failures.canGiveUp);
  }

  /** An isolate was told to end. */
  retire(isolate: IsolateHandle): void {
    this.#ending.push(isolate);
  }

  /**
   * Has another started after a pause, or given up for the threads of those before that hold the
   * machine. Returns the pause, ms.
   */
  schedule({ isHung, start, giveUp }: Successor): number {
    const pauseMs = Math.max(this.#failures.pauseMs, isHung ? MIN_PAUSE_AFTER_HANG_MS : 0);
    this.#nextTryAtMs = this.#clock.now() + pauseMs;
    this.#cancel = this.#clock.after(pauseMs, () => {
      this.#nextTryAtMs = undefined;
      const isLatestStuck = this.#ending.at(-1)?.isGone === false;
      this.#ending = this.#ending.filter(({ isGone }) => !isGone);
      const numStuck = this.#ending.length;
      if (numStuck >= MAX_STUCK_THREADS && this.#failures.canGiveUp) return giveUp(numStuck);
      this.#numRestarts++;
      start(isLatestStuck);
    });
    return pauseMs;
  }

  /** No other is started. Idempotent. */
  cancel(): void {
    this.#cancel();
  }
}
