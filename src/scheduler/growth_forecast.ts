import type { BlockManager } from "../kvcache/block_manager.ts";
import { OutputLengths } from "./output_lengths.ts";
import type { SequenceGroup } from "./sequence_group.ts";

/**
 * Tokens that a preempted group draws before it may be preempted again, if anyone else can be; its
 * next admission waits until all that run have room for so many.
 */
export const MIN_TOKENS_BETWEEN_PREEMPTIONS = 64;
/** Moments at which the blocks of all are added up. */
const MAX_MOMENTS = 32;
/** By how much a preemption raises what answers are expected to grow, and to what at most. */
const CAUTION_STEP = 1.25;
const MAX_CAUTION = 2;
/** What is left of the raise a step later. */
const CAUTION_DECAY = 0.99;

/** The quantile, among the answers that one is compared with, of its expected length. */
const MEDIAN = 0.5;
const GOLDEN_RATIO = (1 + Math.sqrt(5)) / 2;

/** A group as the forecast sees it, in tokens. */
interface Growing {
  /** Those that it has now. */
  readonly length: number;
  /** Those that it still gets, one per step, before it gives its blocks back. */
  readonly remaining: number;
  /** Leading ones whose blocks stay at its end, since others may hold them too. */
  readonly numShared: number;
  /** Its sequences, all of which grow so. */
  readonly width: number;
}

/** How a forecast is made. */
export interface GrowthOptions {
  /** Most tokens of one sequence, prompt and output. */
  readonly maxModelLen: number;
  /** Factor of what answers are expected to grow: 0 forecasts nothing. */
  readonly conservativeness: number;
}

/**
 * Forecasts the blocks that running groups take before others give theirs back, so that an
 * admission leaves them over and preempts nobody later.
 *
 *     blocks          a and b run, c is to be admitted
 *       |        ____ the most that all take at any moment, less what they have now
 *       |    __c|    |
 *       |  _|b  |____ at b's end
 *       |_|a         |___
 *       +------------------- steps
 *
 * Each answer grows by a token per step, up to what {@link OutputLengths} expects. A preemption
 * shows that it was too little: for a while after it, more is expected.
 */
export class GrowthForecast {
  readonly lengths = new OutputLengths();
  readonly #blocks: BlockManager;
  readonly #options: GrowthOptions;
  /** Blocks of a sequence of so many whole blocks of tokens. */
  readonly #blocksAt: number[] = [];
  #caution = 1;

  constructor(blocks: BlockManager, options: GrowthOptions) {
    this.#blocks = blocks;
    this.#options = options;
  }

  /** A step begins: what preemptions have taught fades. */
  beginStep(): void {
    this.#caution = 1 + (this.#caution - 1) * CAUTION_DECAY;
  }

  /** A group has been preempted for the growth of another. */
  observeShortage(): void {
    this.#caution = Math.min(MAX_CAUTION, this.#caution * CAUTION_STEP);
  }

  /** A group has ended. A reheat, which draws a token for want of less, is no answer. */
  observeEnd({ members, isReheat }: SequenceGroup): void {
    if (isReheat) return;
    for (const { numOutputTokens } of members) {
      if (numOutputTokens > 0) this.lengths.observe(numOutputTokens);
    }
  }

  /** Tokens of a group when it ends, as expected, prompt included. */
  expectedTokens(group: SequenceGroup): number {
    const { numPromptTokens, numOutputTokens } = group.members[0]!;
    const outputs = Math.min(
      this.lengths.expect(numOutputTokens, MEDIAN),
      this.#limitOf(group),
    );
    return numPromptTokens + outputs * group.numSeats;
  }

  /**
   * The most blocks that the running groups and `candidate` take at any moment to come, beyond
   * those that they have and those of the candidate's tokens. O(running groups * log).
   */
  peakGrowth(running: readonly SequenceGroup[], candidate: SequenceGroup): number {
    if (this.#options.conservativeness === 0) return 0;
    const least = candidate.numPreemptions > 0 ? MIN_TOKENS_BETWEEN_PREEMPTIONS : 1;
    const growing = [...running, candidate].map((group) => this.#growthOf(group, least));
    growing.sort((a, b) => a.remaining - b.remaining);
    const interval = Math.ceil(growing.length / MAX_MOMENTS);
    let [peak, numGivenBack] = [0, 0];
    growing.forEach((next, i) => {
      const isLooked = i % interval === 0 || i === growing.length - 1;
      if (isLooked) peak = Math.max(peak, this.#growthBy(growing, i) - numGivenBack);
      numGivenBack += this.#blocksOf(next.length) - this.#blocksOf(next.numShared);
    });
    return peak;
  }

  /** Blocks that all from `first` on have got more when that one is about to end. */
  #growthBy(growing: readonly Growing[], first: number): number {
    const steps = growing[first]!.remaining;
    let sum = 0;
    for (let i = first; i < growing.length; i++) {
      const { length, width } = growing[i]!;
      sum += (this.#blocksOf(length + steps) - this.#blocksOf(length)) * width;
    }
    return sum;
  }

  /** @param least tokens that it may take at least, as far as it may get so many. */
  #growthOf(group: SequenceGroup, least: number): Growing {
    const leader = group.members[0]!;
    const limit = this.#limitOf(group) - leader.numOutputTokens;
    const expected = this.lengths.expect(leader.numOutputTokens, quantileOf(group)) -
      leader.numOutputTokens;
    const scaled = Math.ceil(expected * this.#options.conservativeness * this.#caution);
    return {
      length: leader.numTokens,
      // The last token is never computed.
      remaining: Math.max(0, Math.min(limit, Math.max(scaled, least)) - 1),
      numShared: group.answers[0]!.numCachedTokens,
      width: group.numSeats,
    };
  }

  /** Most tokens of its answer. */
  #limitOf(group: SequenceGroup): number {
    const { params, numPromptTokens } = group.members[0]!;
    return Math.min(params.maxTokens, this.#options.maxModelLen - numPromptTokens);
  }

  #blocksOf(numTokens: number): number {
    const numWhole = Math.ceil(numTokens / this.#blocks.blockSize);
    return this.#blocksAt[numWhole] ??= this.#blocks.numSlabsOf(
      numWhole * this.#blocks.blockSize,
    );
  }
}

/**
 * The quantile that a group is expected to end at: fractional parts of multiples of the golden
 * ratio, which spread evenly, so that the expectations of many groups are distributed as answers
 * are.
 */
function quantileOf({ id }: SequenceGroup): number {
  return id * GOLDEN_RATIO % 1;
}
