import { InvariantError } from "../base/invariant.ts";
import {
  type Batch,
  type BlockCopy,
  type BlockLoad,
  type BlockSwap,
  type DrawRequest,
  hasSwaps,
  type ScheduledChunk,
} from "../core/batch.ts";
import type { BlockId } from "../core/ids.ts";
import { isLongScope } from "../core/long_context.ts";
import type { PrefillTime } from "./prefill_time.ts";
import type { Sequence } from "./sequence.ts";
import type { SequenceGroup, StepPlan } from "./sequence_group.ts";

/** Blocks that go to host memory, and those that come back. */
export interface Swaps {
  readonly outs: readonly BlockSwap[];
  readonly ins: readonly BlockLoad[];
}

/**
 * One step in the making: chunks of sequences within one token budget.
 *
 * There are no phases: a chunk is `count` consecutive positions, and decode is a chunk of one, so a
 * long prompt fills what the running answers leave over (Agrawal 2024, "Sarathi-Serve",
 * arXiv:2403.02310). Answers are not planned before prompts, but have their tokens reserved: so
 * groups can be planned in the order in which they are to get blocks.
 */
export class BatchPlan implements StepPlan {
  /** Whose tokens each chunk has, and the groups that these are of. */
  readonly sequences: Sequence[] = [];
  readonly groups: SequenceGroup[] = [];
  readonly #chunks: ScheduledChunk[] = [];
  readonly #copies: BlockCopy[] = [];
  #swaps: Pick<Batch, "swapOuts" | "swapIns"> = {};
  readonly #maxNumTokens: number;
  readonly #maxChunk: number;
  readonly #prefillTime: PrefillTime | undefined;
  #numTokens = 0;
  #numDecodeSteps = 1;
  #numFurtherTokens = 0;
  #numReserved = 0;

  /**
   * An empty plan for at most `maxNumTokens` tokens, `maxChunk` of one sequence, and as much of
   * prompts as `prefillTime` allows.
   */
  constructor(maxNumTokens: number, maxChunk: number = Infinity, prefillTime?: PrefillTime) {
    this.#maxNumTokens = maxNumTokens;
    this.#maxChunk = maxChunk;
    this.#prefillTime = prefillTime;
  }

  /** Keeps so many tokens of the budget for groups to come, each of whose seats gets one. */
  reserve(numTokens: number): void {
    this.#numReserved += numTokens;
  }

  /** Gives reserved tokens free: their groups are to be planned, or are not. */
  unreserve(numTokens: number): void {
    this.#numReserved -= numTokens;
  }

  /** Whether no sequence advances. */
  get isEmpty(): boolean {
    return this.#chunks.length === 0;
  }

  /** Whether the budget is spent, or the time for prompts. */
  get isFull(): boolean {
    return this.#numTokens === this.#maxNumTokens || (this.#prefillTime?.isSpent ?? false);
  }

  /** Tokens of all chunks. */
  get numTokens(): number {
    return this.#numTokens;
  }

  /** Decode steps that the plan stands for: those of its longest chunk; at least 1. */
  get numDecodeSteps(): number {
    return this.#numDecodeSteps;
  }

  /** Positions that are computed in all of its steps. */
  get numPositions(): number {
    return this.#numTokens + this.#numFurtherTokens;
  }

  countFor(sequence: Sequence): number {
    const numFree = this.#maxNumTokens - this.#numTokens - this.#numReserved;
    const numAllowed = Math.min(sequence.numUncomputedTokens, numFree, this.#maxChunk);
    const numLeft = numAllowed > 1 && this.#prefillTime !== undefined
      ? this.#prefillTime.fit(sequence.numComputedTokens, numAllowed)
      : numAllowed;
    if (sequence.chunkEnds.length === 0) return numLeft;
    return Math.min(numLeft, sequence.nextChunkEnd - sequence.numComputedTokens);
  }

  add(
    group: SequenceGroup,
    sequence: Sequence,
    count: number,
    blockTables: readonly (readonly BlockId[])[],
  ): void {
    const limit = this.countFor(sequence);
    if (count <= 0 || count > limit) {
      throw new InvariantError(
        `a chunk of ${count} tokens of sequence ${sequence.id}, ${limit} possible`,
      );
    }
    const start = sequence.numComputedTokens;
    const end = start + count;
    this.#numTokens += count;
    this.#prefillTime?.take(start, count);
    this.sequences.push(sequence);
    this.groups.push(group);
    const { id: sequenceId } = sequence;
    const tokens = sequence.tokens(start, end);
    const isDrawn = end === sequence.numTokens && sequence.params.maxTokens > 0;
    const plain: ScheduledChunk = isDrawn
      ? { sequenceId, tokens, start, blockTables, draw: drawRequest(sequence) }
      : { sequenceId, tokens, start, blockTables };
    const { reader, caching } = sequence;
    const chunk = isLongScope(caching.scope) ? { ...plain, isLongContext: true as const } : plain;
    this.#chunks.push(
      reader === undefined ? chunk : { ...chunk, ...reader.readingsOf(start, end) },
    );
  }

  /** Has chunk `index`, a decode, stand for so many decode steps, which `blockTables` cover. */
  lengthen(
    index: number,
    numDecodeSteps: number,
    blockTables: readonly (readonly BlockId[])[],
  ): void {
    this.#chunks[index] = { ...this.#chunks[index]!, blockTables, numDecodeSteps };
    this.#numDecodeSteps = Math.max(this.#numDecodeSteps, numDecodeSteps);
    this.#numFurtherTokens += numDecodeSteps - 1;
  }

  addCopy(copy: BlockCopy): void {
    this.#copies.push(copy);
  }

  /** Whether blocks are copied to host memory or back, where they may be corrupt. */
  get hasSwaps(): boolean {
    return hasSwaps(this.#swaps);
  }

  /** Has blocks copied to host memory, and back. */
  addSwaps({ outs, ins }: Swaps): void {
    this.#swaps = {
      ...(outs.length === 0 ? {} : { swapOuts: outs }),
      ...(ins.length === 0 ? {} : { swapIns: ins }),
    };
  }

  /** The plan as data. */
  toBatch(step: number): Batch {
    const copies = this.#copies.length === 0 ? {} : { copies: this.#copies };
    return { step, ...this.#swaps, ...copies, chunks: this.#chunks, numTokens: this.#numTokens };
  }
}

/** The draw of a sequence's next token; it depends on nothing but the sequence itself. */
function drawRequest(sequence: Sequence): DrawRequest {
  const { temperature, topK, topP, minP, seed, numLogprobs } = sequence.params;
  const outputIndex = sequence.numOutputTokens;
  const adjustment = sequence.adjuster?.adjustment();
  const draw = { temperature, topK, topP, minP, seed, outputIndex };
  // Most ask for no more, and a spread costs as much as the rest of a chunk.
  if (numLogprobs === undefined && adjustment === undefined) return draw;
  return {
    ...draw,
    ...(numLogprobs === undefined ? {} : { numLogprobs }),
    ...(adjustment === undefined ? {} : { adjustment }),
  };
}
