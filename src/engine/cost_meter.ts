import { type Batch, numDecodeStepsIn } from "../core/batch.ts";
import type { SwapCosts, SwapTimes } from "../core/swap_space.ts";

const MIB = 2 ** 20;

/** Of what was measured before, so much counts at the next step. */
const DECAY = 63 / 64;

/** Steps whose number of tokens varies less, as a share of its mean, do not tell what one takes. */
const MIN_SPREAD = 0.1;

/** Figures that have changed by less than this share are the ones told last. */
const TOLERANCE = 0.1;

const NO_TIMES: SwapTimes = { storedBytes: 0, storeMs: 0, loadedBytes: 0, loadMs: 0 };

/** A rate with a memory: what so much of something took. */
class Rate {
  #amount = 0;
  #ms = 0;

  /** Takes in that `amount` took so many milliseconds. */
  observe(amount: number, ms: number): void {
    if (amount === 0) return;
    this.#amount = DECAY * this.#amount + amount;
    this.#ms = DECAY * this.#ms + ms;
  }

  /** Milliseconds of one; undefined before any. */
  get msPerUnit(): number | undefined {
    return this.#amount === 0 ? undefined : this.#ms / this.#amount;
  }
}

/**
 * Learns from steps, as they run, what the scheduler weighs swaps by.
 *
 * What a position takes is the slope of a straight line through the steps' times over their
 * numbers of positions (least squares, the latest steps counting most): a step that computes one
 * more is so much longer, whatever a step takes by itself. What copies take, the runner measures.
 */
export class CostMeter {
  /** Weighted sums over steps: 1, positions, ms, positions squared, positions times ms. */
  #sums: readonly number[] = [0, 0, 0, 0, 0];
  readonly #stores = new Rate();
  readonly #loads = new Rate();
  #before = NO_TIMES;
  #told: SwapCosts | undefined;

  /**
   * Takes in a plan that took `ms`, by which copies have taken `times`. Returns the costs where
   * they are known and differ from those returned last.
   */
  observe(
    { numTokens, chunks }: Pick<Batch, "numTokens" | "chunks">,
    ms: number,
    times: SwapTimes,
  ): SwapCosts | undefined {
    const before = this.#before;
    this.#before = times;
    const [storeMs, loadMs] = [times.storeMs - before.storeMs, times.loadMs - before.loadMs];
    this.#stores.observe((times.storedBytes - before.storedBytes) / MIB, storeMs);
    this.#loads.observe((times.loadedBytes - before.loadedBytes) / MIB, loadMs);
    // What went before the first step was no part of it.
    const isFirst = before === NO_TIMES;
    const computeMs = isFirst ? ms : ms - storeMs - loadMs;
    this.#observeStep(numTokens, computeMs / numDecodeStepsIn({ chunks }));
    const costs = this.#costs;
    if (costs === undefined || (this.#told !== undefined && isAlike(costs, this.#told))) return;
    return this.#told = costs;
  }

  #observeStep(numTokens: number, ms: number): void {
    const step = [1, numTokens, ms, numTokens * numTokens, numTokens * ms];
    this.#sums = this.#sums.map((sum, i) => DECAY * sum + step[i]!);
  }

  get #costs(): SwapCosts | undefined {
    const tokenMs = this.#tokenMs;
    const storeMsPerMiB = this.#stores.msPerUnit;
    const loadMsPerMiB = this.#loads.msPerUnit;
    if (tokenMs === undefined || storeMsPerMiB === undefined || loadMsPerMiB === undefined) {
      return undefined;
    }
    return { tokenMs, storeMsPerMiB, loadMsPerMiB };
  }

  get #tokenMs(): number | undefined {
    const [weight, tokens, ms, squares, products] = this.#sums as [
      number,
      number,
      number,
      number,
      number,
    ];
    const spread = weight * squares - tokens * tokens;
    if (spread < (MIN_SPREAD * tokens) ** 2) return this.#told?.tokenMs;
    return Math.max(0, (weight * products - tokens * ms) / spread);
  }
}

function isAlike(some: SwapCosts, others: SwapCosts): boolean {
  return (Object.keys(some) as (keyof SwapCosts)[])
    .every((name) => Math.abs(some[name] - others[name]) <= TOLERANCE * others[name]);
}
