import type { Clock } from "../base/clock.ts";
import type { EngineStats } from "../core/engine_stats.ts";

/** Times that a runner measures; an absent one counts as 0. */
export interface DeviceTimes {
  /** Milliseconds spent waiting for the device in all steps so far. */
  readonly waitedMs?: number;
  /** Milliseconds of host work so far that were done while the device was busy. */
  readonly overlappedMs?: number;
}

/** Where the time of one step went. */
export interface StepTime {
  /** While the device was busy. */
  readonly deviceMs: number;
  /** While it waited for the host. */
  readonly hostMs: number;
}

/** Adds up where the time of steps goes. */
export class StepTimes {
  readonly #device: DeviceTimes;
  readonly #clock: Pick<Clock, "now">;
  #began = { now: 0, waitedMs: 0, overlappedMs: 0 };
  #stepMs = 0;
  #hostMs = 0;
  #overlappedMs = 0;

  constructor(device: DeviceTimes, clock: Pick<Clock, "now">) {
    this.#device = device;
    this.#clock = clock;
  }

  /**
   * The time of all steps: in all, of the host while the device had nothing to do, and while it
   * had.
   */
  get totals(): Pick<EngineStats, "stepMs" | "hostMs" | "overlappedMs"> {
    return { stepMs: this.#stepMs, hostMs: this.#hostMs, overlappedMs: this.#overlappedMs };
  }

  /** A step begins. */
  begin(): void {
    this.#began = this.#read();
  }

  /** The step that began last is over; returns its time. One that never ends is not counted. */
  end(): StepTime {
    const { now, waitedMs, overlappedMs } = this.#read();
    const stepMs = now - this.#began.now;
    const overlapMs = overlappedMs - this.#began.overlappedMs;
    this.#stepMs += stepMs;
    this.#overlappedMs += overlapMs;
    const deviceMs = overlapMs + (waitedMs - this.#began.waitedMs);
    this.#hostMs += stepMs - deviceMs;
    return { deviceMs, hostMs: stepMs - deviceMs };
  }

  #read() {
    const { waitedMs = 0, overlappedMs = 0 } = this.#device;
    return { now: this.#clock.now(), waitedMs, overlappedMs };
  }
}
