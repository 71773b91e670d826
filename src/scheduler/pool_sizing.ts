import { invariant } from "../base/invariant.ts";
import { RequestError } from "../core/errors.ts";
import type { SequenceId } from "../core/ids.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { DecisionListener } from "../kvcache/cache_listener.ts";
import type { PoolResize } from "../kvcache/pool_resize.ts";
import type { Counters } from "./counters.ts";
import { numBlocksMissing, numBlocksToGrow } from "./growth.ts";
import type { Sequence } from "./sequence.ts";
import type { SequenceQueues } from "./sequence_queues.ts";

/** Whom the pool is too small for, and by how much. */
export interface BlockShortage {
  /** The sequence that would be preempted or go on waiting. */
  readonly sequenceId: SequenceId;
  /** Blocks missing beside those that are free or can be evicted; at least 1. */
  readonly numMissing: number;
  /** Whether it would end with an error instead: nobody else runs who could give blocks back. */
  readonly isLone: boolean;
}

/** What the pool's sizing needs of a scheduler. */
export interface PoolSizingParts {
  readonly queues: SequenceQueues;
  readonly counters: Counters;
  /** The sequence that the latest step could not admit for want of blocks. */
  readonly blocked: () => Sequence | undefined;
  readonly isInFlight: () => boolean;
  readonly onDecision: DecisionListener | undefined;
}

/** Says when the block pool is too small, and gives it another size between two steps. */
export class PoolSizing {
  readonly #blocks: BlockManager;
  readonly #maxModelLen: number;
  readonly #parts: PoolSizingParts;
  #growthLimit = 0;

  /** @param maxModelLen most tokens of one sequence; one of these always fits. */
  constructor(blocks: BlockManager, maxModelLen: number, parts: PoolSizingParts) {
    this.#blocks = blocks;
    this.#maxModelLen = maxModelLen;
    this.#parts = parts;
  }

  /** Blocks in the pool. */
  get numBlocks(): number {
    return this.#blocks.numBlocks;
  }

  /** Blocks that the pool may grow to by itself; no more than it has where it may not. */
  get growthLimit(): number {
    return this.#growthLimit;
  }

  /** Says how large the pool may get by itself, from now on; who can give it memory knows. */
  limitGrowth(numBlocks: number): void {
    this.#growthLimit = numBlocks;
  }

  /**
   * What the next step lacks: it would have to preempt, or leave the first that waits waiting; undefined
   * while there is enough. O(running sequences), and O(blocks of a prompt) while one waits for blocks.
   */
  shortage(): BlockShortage | undefined {
    const { queues } = this.#parts;
    const { running } = queues;
    const numGrowing = running.reduce(
      (sum, entry) => sum + numBlocksToGrow(entry, this.#blocks),
      0,
    );
    const numMissing = numGrowing - this.#blocks.numFree - this.#blocks.numCached;
    if (numMissing > 0) {
      return { sequenceId: running.at(-1)!.id, numMissing, isLone: running.length === 1 };
    }
    // Who would be alone is tried here first: a pool whose blocks are pinned would have to refuse it.
    const sequence = running.length === 0 ? queues.takeTurns().next : this.#parts.blocked();
    if (sequence?.state !== "waiting") return undefined;
    const numLacked = numBlocksMissing(sequence, this.#blocks);
    if (numLacked === 0) return undefined;
    const isLone = running.length === 0;
    return { sequenceId: sequence.id, numMissing: numLacked + numGrowing, isLone };
  }

  /**
   * Gives the pool `numBlocks` blocks; the device has to have them before a step uses them, and to carry
   * out the moves before it gives any up.
   *
   * @param grownFor the sequence for which the pool grows by itself; absent when somebody asked for it.
   * @throws {RequestError} with the numbers when blocks in use or pinned would have to go (409), or one
   * sequence of the greatest length would not fit (400). Nothing has changed.
   */
  resize(numBlocks: number, grownFor?: SequenceId): PoolResize {
    invariant(!this.#parts.isInFlight(), "the pool is resized while a step is in flight");
    this.#checkHoldsLongest(numBlocks);
    const resize = this.#blocks.resize(numBlocks);
    const { numBefore, numAfter, numEvicted } = resize;
    const numMoved = resize.moves.length;
    this.#parts.counters.countResize(grownFor !== undefined, numEvicted);
    this.#parts.onDecision?.({
      type: "resize",
      ...(grownFor === undefined ? {} : { sequenceId: grownFor }),
      numBefore,
      numAfter,
      numEvicted,
      numMoved,
    });
    return resize;
  }

  /** Notes that the device has refused to grow the pool to `numWanted` blocks. */
  noteRefusal(sequenceId: SequenceId, numWanted: number): void {
    const { numBlocks } = this.#blocks;
    this.#parts.onDecision?.({ type: "refuse_growth", sequenceId, numBlocks, numWanted });
  }

  /** So that whatever was accepted can end: no sequence becomes longer than that. */
  #checkHoldsLongest(numBlocks: number): void {
    const numNeeded = this.#blocks.numBlocksFor(this.#maxModelLen);
    if (numBlocks >= Math.min(numNeeded, this.#blocks.numBlocks)) return;
    const { blockSize } = this.#blocks;
    throw new RequestError(
      `num_blocks must be at least ${numNeeded}, got ${numBlocks}: one sequence of ` +
        `${this.#maxModelLen} tokens takes ${numNeeded} blocks of ${blockSize}`,
      {
        code: "kv_pool_too_small",
        param: "num_blocks",
        details: { n_blocks: numBlocks, n_needed: numNeeded, n_ctx: this.#maxModelLen },
      },
    );
  }
}
