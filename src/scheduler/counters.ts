import { alignDown } from "../base/math.ts";
import type { EngineStats } from "../core/engine_config.ts";
import type { ScheduledChunk } from "../core/batch.ts";
import type { Sequence } from "./sequence.ts";
import type { SequenceGroup } from "./sequence_group.ts";

/** The counters among the engine's statistics that the scheduler keeps. */
export type CounterStats = Pick<
  EngineStats,
  | "numSteps"
  | "numPreemptions"
  | "numComputedPromptTokens"
  | "numPromptTokens"
  | "numGeneratedTokens"
  | "numQueriedTokens"
  | "numHitTokens"
  | "numEvictedTokens"
  | "numUnsharableTokens"
  | "numRequeriedTokens"
  | "numRehitTokens"
  | "numPoolGrowths"
  | "numPoolResizes"
  | "numShrinkEvictedBlocks"
>;

/** What a look-up in the prefix cache has found. */
export interface Lookup {
  readonly numTokens: number;
  readonly numHitTokens: number;
  /** Tokens right behind those found that were cached once. */
  readonly numEvictedTokens: number;
  /** Token positions per block. */
  readonly blockSize: number;
}

/** What the scheduler counts; the counters never go down. */
export class Counters {
  numSteps = 0;
  numPreemptions = 0;
  #numComputedPromptTokens = 0;
  #numPromptTokens = 0;
  #numGeneratedTokens = 0;
  #numQueriedTokens = 0;
  #numHitTokens = 0;
  #numEvictedTokens = 0;
  #numUnsharableTokens = 0;
  #numRequeriedTokens = 0;
  #numRehitTokens = 0;
  #numPoolGrowths = 0;
  #numPoolResizes = 0;
  #numShrinkEvictedBlocks = 0;

  /** The counters under the names that the statistics give them. */
  get current(): CounterStats {
    return {
      numSteps: this.numSteps,
      numPreemptions: this.numPreemptions,
      numComputedPromptTokens: this.#numComputedPromptTokens,
      numPromptTokens: this.#numPromptTokens,
      numGeneratedTokens: this.#numGeneratedTokens,
      numQueriedTokens: this.#numQueriedTokens,
      numHitTokens: this.#numHitTokens,
      numEvictedTokens: this.#numEvictedTokens,
      numUnsharableTokens: this.#numUnsharableTokens,
      numRequeriedTokens: this.#numRequeriedTokens,
      numRehitTokens: this.#numRehitTokens,
      numPoolGrowths: this.#numPoolGrowths,
      numPoolResizes: this.#numPoolResizes,
      numShrinkEvictedBlocks: this.#numShrinkEvictedBlocks,
    };
  }

  /** A prompt has been looked up in the prefix cache at its first admission. */
  countLookup({ numTokens, numHitTokens, numEvictedTokens, blockSize }: Lookup): void {
    this.#numQueriedTokens += numTokens;
    this.#numHitTokens += numHitTokens;
    this.#numEvictedTokens += numEvictedTokens;
    this.#numUnsharableTokens += numTokens - alignDown(numTokens - 1, blockSize);
  }

  /** A preempted sequence has looked up what it had computed. */
  countLookupAgain({ numTokens, numHitTokens }: Lookup): void {
    this.#numRequeriedTokens += numTokens;
    this.#numRehitTokens += numHitTokens;
  }

  /** The pool has got another size, by itself or because somebody asked for it, and dropped cached blocks. */
  countResize(isGrowth: boolean, numEvicted: number): void {
    this.#numShrinkEvictedBlocks += numEvicted;
    if (isGrowth) this.#numPoolGrowths++;
    else this.#numPoolResizes++;
  }

  /** A chunk has been computed. */
  countChunk(sequence: Sequence, { start, tokens }: ScheduledChunk): void {
    const promptEnd = Math.min(start + tokens.length, sequence.numPromptTokens);
    this.#numComputedPromptTokens += Math.max(0, promptEnd - start);
  }

  /** An answer of a group has one more token, which may be its first. Those of a warm-up do not count. */
  countToken({ isWarmUp, numPromptTokens }: SequenceGroup, isFirst: boolean): void {
    if (isWarmUp) return;
    if (isFirst) this.#numPromptTokens += numPromptTokens;
    this.#numGeneratedTokens++;
  }
}
