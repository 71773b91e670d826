import { type Batch, MAX_DECODE_STEPS, numDecodeStepsIn } from "../core/batch.ts";
import type { StepBounds } from "../core/step_bounds.ts";
import { PrefillPace, type PrefillPaceOptions } from "./prefill_pace.ts";
import type { StepTime } from "./step_times.ts";

/** Most time of decodes that are submitted at once, ms: a request that comes waits for them. */
const MAX_DECODES_MS = 50;

/** Part of the device's time in which it may wait for the host before more steps are worth it. */
const MAX_HOST_TIME_SHARE = 0.01;

/** How much the newest plan says of the next. */
const EMA_WEIGHT = 0.2;

/** How many times as many steps have to pay, or as few suffice, before their number changes. */
const GROWTH_THRESHOLD = 1.25;
const SHRINK_THRESHOLD = 0.4;

/**
 * Learns from the time that plans take what the next ones are to be cut to.
 *
 * Decode steps are submitted together until the host's part of their time is small, as long as all
 * of them are short: 1, 2, 4 or 8, and as many as before where that is nearly right, since what a
 * device has recorded ahead is for as many. Before anything is known they come one by one. Prompts
 * are cut so that a step takes no longer than it may.
 */
export class StepPace {
  /** Of one decode step on the device, and of the host per plan of them, ms. */
  #decode: StepTime | undefined;
  #maxDecodeSteps = 1;
  readonly #prefill: PrefillPace | undefined;

  /** @param prefill the time and tokens of steps that compute prompts; absent: no limit. */
  constructor(prefill?: PrefillPaceOptions) {
    this.#prefill = prefill && new PrefillPace(prefill);
  }

  /** What the next plan is to be cut to. */
  get bounds(): StepBounds {
    const maxPrefillTokens = this.#prefill?.maxTokens;
    return {
      maxDecodeSteps: this.#maxDecodeSteps,
      ...(maxPrefillTokens === undefined ? {} : { maxPrefillTokens }),
    };
  }

  /** A plan has been carried out, in so much time. */
  observe({ chunks }: Batch, { deviceMs, hostMs }: StepTime): void {
    if (!chunks.every(({ tokens: { length } }) => length === 1)) {
      return this.#prefill?.observe(chunks, deviceMs);
    }
    const numDecodeSteps = numDecodeStepsIn({ chunks });
    const before = this.#decode ?? { deviceMs: deviceMs / numDecodeSteps, hostMs };
    this.#decode = {
      deviceMs: before.deviceMs + EMA_WEIGHT * (deviceMs / numDecodeSteps - before.deviceMs),
      hostMs: before.hostMs + EMA_WEIGHT * (hostMs - before.hostMs),
    };
    this.#maxDecodeSteps = stepsAfter(this.#maxDecodeSteps, this.#decode);
  }
}

/** How many decode steps follow on so many, where one takes so long. */
function stepsAfter(numDecodeSteps: number, { deviceMs, hostMs }: StepTime): number {
  // A device that takes no time is one that does not tell.
  if (deviceMs <= 0) return MAX_DECODE_STEPS;
  const affordable = Math.min(MAX_DECODE_STEPS, MAX_DECODES_MS / deviceMs);
  const worth = Math.min(affordable, hostMs / (MAX_HOST_TIME_SHARE * deviceMs));
  const isRight = numDecodeSteps <= affordable && worth <= GROWTH_THRESHOLD * numDecodeSteps &&
    worth >= SHRINK_THRESHOLD * numDecodeSteps;
  if (isRight) return numDecodeSteps;
  const most = 2 ** Math.floor(Math.log2(Math.max(1, affordable)));
  return Math.min(most, 2 ** Math.ceil(Math.log2(Math.max(1, worth))));
}
