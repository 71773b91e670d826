import type { Clock } from "../base/clock.ts";
import { type Batch, numPositionsOf } from "../core/batch.ts";
import type { EngineStats } from "../core/engine_stats.ts";
import type { ChunkView, StepView } from "../core/engine_view.ts";

/** Entries of each kind that are kept for the next view. */
const MAX_ENTRIES = 512;

/** A view asked for within this time keeps the log going. */
const WATCHED_MS = 5000;

/** The totals of times, as of {@link StepTimes}. */
export type TimeTotals = Pick<EngineStats, "stepMs" | "hostMs" | "overlappedMs">;

/**
 * What steps do, one by one, for whoever watches: taken with each view, and given up when nobody
 * has asked for one in a while. Costs two readings of the clock and O(chunks) per step.
 */
export class StepLog {
  readonly #clock: Pick<Clock, "now">;
  #steps: StepView[] = [];
  #chunks: ChunkView[] = [];
  #askedMs: number;
  #plan = { step: 0, scheduleMs: 0, numChunks: 0, numTokens: 0 };
  #totals: TimeTotals;
  #beganMs = 0;

  /** `totals`: as they are now. */
  constructor(clock: Pick<Clock, "now">, totals: TimeTotals) {
    this.#clock = clock;
    this.#totals = totals;
    this.#askedMs = clock.now();
  }

  /** Whether nobody has asked for a view in a while. */
  get isOver(): boolean {
    return this.#clock.now() - this.#askedMs > WATCHED_MS;
  }

  /** A step begins. */
  begin(): void {
    this.#beganMs = this.#clock.now();
  }

  /** The step that began last is planned. */
  planned(batch: Batch): void {
    const { step, chunks } = batch;
    const scheduleMs = this.#clock.now() - this.#beganMs;
    this.#plan = { step, scheduleMs, numChunks: chunks.length, numTokens: numPositionsOf(batch) };
    const timeMs = Date.now();
    for (const { sequenceId, start, tokens: { length: count } } of chunks) {
      if (count > 1) this.#chunks.push({ sequenceId, step, timeMs, start, count });
    }
    if (this.#chunks.length > 2 * MAX_ENTRIES) this.#chunks = this.#chunks.slice(-MAX_ENTRIES);
  }

  /** That step is over. */
  ended(totals: TimeTotals): void {
    const stepMs = totals.stepMs - this.#totals.stepMs;
    const hostMs = totals.hostMs - this.#totals.hostMs;
    this.#totals = totals;
    const scheduleMs = Math.min(this.#plan.scheduleMs, hostMs);
    this.#steps.push({
      ...this.#plan,
      endMs: Date.now(),
      stepMs,
      scheduleMs,
      hostMs: hostMs - scheduleMs,
      deviceMs: stepMs - hostMs,
    });
    if (this.#steps.length > 2 * MAX_ENTRIES) this.#steps = this.#steps.slice(-MAX_ENTRIES);
  }

  /** Takes the latest entries, at most {@link MAX_ENTRIES} of each kind; someone watches. */
  drain(): { readonly steps: readonly StepView[]; readonly chunks: readonly ChunkView[] } {
    this.#askedMs = this.#clock.now();
    const taken = {
      steps: this.#steps.slice(-MAX_ENTRIES),
      chunks: this.#chunks.slice(-MAX_ENTRIES),
    };
    this.#steps = [];
    this.#chunks = [];
    return taken;
  }
}
