import { ceilDiv } from "../base/math.ts";
import type { Batch, ScheduledChunk } from "../core/batch.ts";
import type { PoolGroups } from "../core/cache_group.ts";

/** A step in which an operation is timed: sequences of one length, each with as many new tokens. */
export interface TuningStep {
  readonly numSeqs: number;
  /** New tokens of each. */
  readonly count: number;
  /** Tokens each has after the step. */
  readonly context: number;
}

/**
 * The batch of such a step, over blocks of the pool that lie scattered, as after some time of
 * serving. Sequences share blocks where the pool is small. Half of the draws are greedy.
 */
export function tuningBatch(
  { numSeqs, count, context }: TuningStep,
  { blockSize, numBlocks, blocksPerSlab = [1] }: Pick<PoolGroups, "blocksPerSlab"> & {
    readonly blockSize: number;
    readonly numBlocks: number;
  },
): Batch {
  const perSequence = ceilDiv(context, blockSize);
  const chunks = Array.from({ length: numSeqs }, (_, sequenceId): ScheduledChunk => ({
    sequenceId,
    tokens: new Uint32Array(count),
    start: context - count,
    blockTables: blocksPerSlab.map((count) =>
      Array.from(
        { length: perSequence },
        (_, i) => (sequenceId * perSequence + i) * SCATTER % (numBlocks * count),
      )
    ),
    draw: {
      ...{ temperature: sequenceId % 2, topK: 0, topP: 1, minP: 0 },
      ...{ seed: sequenceId, outputIndex: 0 },
    },
  }));
  return { step: 0, chunks, numTokens: numSeqs * count };
}

/** A prime: blocks are this far apart, modulo the pool. */
const SCATTER = 7919;
