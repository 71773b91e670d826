import { alignDown } from "../base/math.ts";
import type { ScheduledChunk } from "../core/batch.ts";
import { type EngineCounts, zeroCounts } from "../core/engine_stats.ts";
import type { BatchPlan } from "./batch_plan.ts";
import type { Answer, Sequence } from "./sequence.ts";
import type { SequenceGroup } from "./sequence_group.ts";

/** The outcome of a look-up in the prefix cache. */
export interface Lookup {
  readonly numTokens: number;
  readonly numHitTokens: number;
  /** Tokens right behind those found that were cached once. */
  readonly numEvictedTokens: number;
  /** Token positions per block. */
  readonly blockSize: number;
}

/** The scheduler's counters; those that others count stay 0. */
export class Counters {
  readonly #counts = zeroCounts();

  /** All counts as of now; the same object each time. */
  get current(): EngineCounts {
    return this.#counts;
  }

  /** A plan has been made; returns how many there were before. */
  countStep(
    { numPositions, numDecodeSteps }: Pick<BatchPlan, "numPositions" | "numDecodeSteps">,
  ): number {
    this.#counts.numStepTokens += numPositions;
    this.#counts.numFurtherDecodeSteps += numDecodeSteps - 1;
    return this.#counts.numSteps++;
  }

  /** So many tokens have been drawn behind the end of their sequence. */
  countWasted(numTokens: number): void {
    this.#counts.numWastedTokens += numTokens;
  }

  /** A group has lost its blocks. */
  countPreemption(): void {
    this.#counts.numPreemptions++;
  }

  /** Host memory had no room for a preempted sequence. */
  countSwapRefused(): void {
    this.#counts.numSwapsRefused++;
  }

  /** Host memory has not kept a block of a sequence. */
  countSwapCorrupt(): void {
    this.#counts.numSwapsCorrupt++;
  }

  /** The deadline of a group has passed. */
  countTimeout(): void {
    this.#counts.numTimeouts++;
  }

  /** A prompt has been looked up in the prefix cache at its first admission. */
  countLookup({ numTokens, numHitTokens, numEvictedTokens, blockSize }: Lookup): void {
    this.#counts.numQueriedTokens += numTokens;
    this.#counts.numHitTokens += numHitTokens;
    this.#counts.numEvictedTokens += numEvictedTokens;
    this.#counts.numUnsharableTokens += numTokens - alignDown(numTokens - 1, blockSize);
  }

  /** A preempted sequence has looked up its computed tokens. */
  countLookupAgain({ numTokens, numHitTokens }: Lookup): void {
    this.#counts.numRequeriedTokens += numTokens;
    this.#counts.numRehitTokens += numHitTokens;
  }

  /**
   * The pool has been resized, by itself or on demand, and has evicted `numEvicted` cached blocks.
   */
  countResize(isByItself: boolean, numEvicted: number): void {
    this.#counts.numShrinkEvictedBlocks += numEvicted;
    if (isByItself) this.#counts.numPoolGrowths++;
    else this.#counts.numPoolResizes++;
  }

  /** A chunk has been computed. */
  countChunk(sequence: Sequence, { start, tokens }: ScheduledChunk): void {
    const promptEnd = Math.min(start + tokens.length, sequence.numPromptTokens);
    this.#counts.numComputedPromptTokens += Math.max(0, promptEnd - start);
    const againEnd = Math.min(start + tokens.length, sequence.numTokensOnceComputed);
    this.#counts.numRecomputedTokens += Math.max(0, againEnd - start);
  }

  /** An answer of a group has begun, or ended without a token. Those of a reheat do not count. */
  countPrompt(
    { isReheat, numPromptTokens }: SequenceGroup,
    { numCachedTokens }: Pick<Answer, "numCachedTokens">,
  ): void {
    if (isReheat) return;
    this.#counts.numPromptTokens += numPromptTokens;
    this.#counts.numCachedPromptTokens += numCachedTokens;
  }

  /** A token could not be drawn, since the model's outputs were no numbers. */
  countCorrupted(): void {
    this.#counts.numCorrupted++;
  }

  /** An answer of a group has one more token. Those of a reheat do not count. */
  countToken({ isReheat }: SequenceGroup): void {
    if (!isReheat) this.#counts.numGeneratedTokens++;
  }
}
