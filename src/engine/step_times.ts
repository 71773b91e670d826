import type { Clock } from "../base/clock.ts";
import type { EngineStats } from "../core/engine_stats.ts";

/** What a runner tells of its time; what is absent is unknown, and counts as nothing. */
export interface DeviceTimes {
  /** Milliseconds spent waiting for the device in all steps so far. */
  readonly waitedMs?: number;
  /** Milliseconds of host work so far that were done while the device was busy. */
  readonly overlappedMs?: number;
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

  /** The time of all steps: in all, of the host while the device had nothing to do, and while it had. */
  get totals(): Pick<EngineStats, "stepMs" | "hostMs" | "overlappedMs"> {
    return { stepMs: this.#stepMs, hostMs: this.#hostMs, overlappedMs: this.#overlappedMs };
  }

  /** A step begins. */
  begin(): void {
    this.#began = this.#read();
  }

  /** The step that began last is over; one that never ends is not counted. */
  end(): void {
    const { now, waitedMs, overlappedMs } = this.#read();
    const stepMs = now - this.#began.now;
    const overlapMs = overlappedMs - this.#began.overlappedMs;
    this.#stepMs += stepMs;
    this.#overlappedMs += overlapMs;
    this.#hostMs += stepMs - overlapMs - (waitedMs - this.#began.waitedMs);
  }

  #read() {
    const { waitedMs = 0, overlappedMs = 0 } = this.#device;
    return { now: this.#clock.now(), waitedMs, overlappedMs };
  }
}
