import { type Batch, MAX_DECODE_STEPS, numStepsOf } from "../core/batch.ts";
import type { StepBounds } from "../core/step_bounds.ts";
import { PrefillPace, type PrefillPaceOptions } from "./prefill_pace.ts";
import type { StepTime } from "./step_times.ts";

/** Most time of decodes that are submitted at once, ms: a request that comes waits for them. */
const MAX_DECODES_MS = 50;

/** Part of the device's time in which it may wait for the host before more steps are worth it. */
const HOST_SHARE = 0.01;

/** How much the newest plan says of the next. */
const WEIGHT = 0.2;

/**
 * Learns from the time that plans take what the next ones are to be cut to.
 *
 * Decode steps are submitted together until the host's part of their time is small, as long as all
 * of them are short. Before anything is known they come one by one. Prompts are cut so that a step
 * takes no longer than it may.
 */
export class StepPace {
  /** Of one decode step on the device, and of the host per plan of them, ms. */
  #decode: StepTime | undefined;
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
  note({ chunks }: Batch, { deviceMs, hostMs }: StepTime): void {
    if (!chunks.every(({ tokens: { length } }) => length === 1)) {
      return this.#prefill?.note(chunks, deviceMs);
    }
    const numSteps = Math.max(...chunks.map(numStepsOf));
    const before = this.#decode ?? { deviceMs: deviceMs / numSteps, hostMs };
    this.#decode = {
      deviceMs: before.deviceMs + WEIGHT * (deviceMs / numSteps - before.deviceMs),
      hostMs: before.hostMs + WEIGHT * (hostMs - before.hostMs),
    };
  }

  get #maxDecodeSteps(): number {
    if (this.#decode === undefined) return 1;
    const { deviceMs, hostMs } = this.#decode;
    // A device that takes no time is one that does not tell.
    if (deviceMs <= 0) return MAX_DECODE_STEPS;
    const worth = Math.ceil(hostMs / (HOST_SHARE * deviceMs));
    const affordable = Math.floor(MAX_DECODES_MS / deviceMs);
    return Math.max(1, Math.min(worth, affordable, MAX_DECODE_STEPS));
  }
}
