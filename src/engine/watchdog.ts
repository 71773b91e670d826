import type { Clock } from "../base/clock.ts";
import { type EngineInfo, WARM_UP_PHASE, WARM_UP_TOKENS } from "../core/engine_config.ts";
import type { EngineStall } from "../core/engine_port.ts";

/** How long an isolate may be silent. */
export interface EngineDeadlines {
  /** Most ms from one phase of its start to the next, or to the end of one. */
  readonly startMs: number;
  /** Most ms that a step may take; absent: derived from the device's own speed. */
  readonly stepMs?: number;
}

/** A server's deadlines. */
export const DEFAULT_DEADLINES: EngineDeadlines = { startMs: 600_000 };

/** Least that a step is allowed unless a time was given, ms. */
const MIN_STEP_MS = 120_000;

/** How much slower than in the warm-up a token may be, with a long context or on a busy machine. */
const SLOWNESS = 4;

/** Longest that a step is let be without a word, ms. */
const MAX_STALL_MS = 30_000;

/** Longest time between two ticks, ms. */
const MAX_TICK_MS = 1000;

/** The reply of an isolate to a ping. */
export interface Pulse {
  /** Steps and commands that it has completed. */
  readonly numAdvances: number;
  /** Whether it has something to do. */
  readonly isBusy: boolean;
  /** What it is at, and what blocks those that wait, with the numbers; while it has. */
  readonly work?: string;
}

/** The client of the watchdog. */
export interface WatchdogOptions {
  readonly clock: Clock;
  /** Asks the isolate for its pulse. */
  readonly ping: () => void;
  /** The isolate has been silent for too long; told once, with a sentence. */
  readonly onHang: (reason: string) => void;
  /** A step takes unusually long, and is still allowed to; undefined once it gets on. */
  readonly onStall?: (stall: EngineStall | undefined) => void;
}

/**
 * Notices an isolate that hangs: one that is in a loop, waits for what never comes, or has work and
 * does not advance.
 *
 * The isolate's event loop stands still while the device computes, so a reply to a ping may take
 * as long as a step. What counts is that it advances, or has nothing to do. Silence is counted in
 * ticks of a timer, not in time, which goes on while the whole process is stopped.
 */
export class Watchdog {
  readonly #options: WatchdogOptions;
  #cancelTick: () => void = () => {};
  #silentMs = 0;
  #numAdvances = 0;
  #isPinged = false;
  #numTicksUnanswered = 0;
  #isStalled = false;
  /** What the isolate has said that it is at since it last got on. */
  #work: string | undefined;

  constructor(options: WatchdogOptions) {
    this.#options = options;
  }

  /** A phase of a start begins, which may take `deadlineMs`. */
  watchStart(deadlineMs: number): void {
    this.#watch(deadlineMs, `The engine has not got on with its start for ${words(deadlineMs)}`);
  }

  /** The isolate is ready; from now on a step may take `deadlineMs`. */
  watchSteps(deadlineMs: number): void {
    const reason = `The engine has not completed a step for ${words(deadlineMs)}`;
    this.#isPinged = false;
    this.#numTicksUnanswered = 0;
    this.#numAdvances = 0;
    // An isolate that rests is silent from one reply to the next, a tick.
    const stallMs = Math.max(2 * tickOf(deadlineMs), Math.min(MAX_STALL_MS, deadlineMs / 4));
    this.#watch(deadlineMs, reason, () => {
      if (this.#isPinged) this.#numTicksUnanswered++;
      if (this.#silentMs >= stallMs && !this.#isStalled) this.#tellStall();
      // One that has not replied yet is not asked again.
      if (!this.#isPinged) this.#options.ping();
      this.#isPinged = true;
    });
  }

  /** The isolate has replied to a ping. */
  hear({ numAdvances, isBusy, work }: Pulse): void {
    this.#isPinged = false;
    this.#numTicksUnanswered = 0;
    this.#work = work;
    if (!isBusy || numAdvances !== this.#numAdvances) this.#getOn();
    this.#numAdvances = numAdvances;
  }

  /** Present while a step takes unusually long. */
  get stall(): EngineStall | undefined {
    if (!this.#isStalled) return undefined;
    return { seconds: this.#silentMs / 1000, reason: this.#describeWork() };
  }

  #describeWork(): string {
    if (this.#numTicksUnanswered < 2 && this.#work !== undefined) return this.#work;
    const words = this.#work === undefined ? "" : `; before, ${this.#work}`;
    return `it answers nothing: its thread computes, or waits in a driver${words}`;
  }

  #tellStall(): void {
    this.#isStalled = true;
    this.#options.onStall?.(this.stall!);
  }

  #getOn(): void {
    this.#silentMs = 0;
    if (!this.#isStalled) return;
    this.#isStalled = false;
    this.#options.onStall?.(undefined);
  }

  /** Watches nothing until it is told to. Idempotent. */
  cancel(): void {
    this.#isStalled = false;
    this.#work = undefined;
    this.#cancelTick();
    this.#cancelTick = () => {};
  }

  #watch(deadlineMs: number, reason: string, onTick: () => void = () => {}): void {
    this.cancel();
    this.#silentMs = 0;
    const { clock, onHang } = this.#options;
    const tickMs = tickOf(deadlineMs);
    const wait = () => this.#cancelTick = clock.after(tickMs, tick);
    const tick = () => {
      this.#silentMs += tickMs;
      if (this.#silentMs >= deadlineMs) return onHang(reason);
      wait();
      onTick();
    };
    wait();
  }
}

/**
 * How long a step of an engine may take unless a time was given, ms: two minutes, or four times
 * what its largest step would take at the speed of its warm-up, where that is longer.
 */
export function stepDeadlineMs(
  { phases, maxNumBatchedTokens, deviceKind }: EngineInfo,
): number {
  const warmUp = phases.find(({ name }) => name === WARM_UP_PHASE)?.seconds ?? 0;
  const largest = Math.max(1, maxNumBatchedTokens / WARM_UP_TOKENS[deviceKind]) * warmUp * 1000;
  return Math.max(MIN_STEP_MS, SLOWNESS * largest);
}

function tickOf(deadlineMs: number): number {
  return Math.min(MAX_TICK_MS, deadlineMs / 4);
}

function words(ms: number): string {
  return `${Number((ms / 1000).toPrecision(3))} s`;
}
