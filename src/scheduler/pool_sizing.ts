import { RequestError } from "../core/errors.ts";
import type { SequenceId } from "../core/ids.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { PoolResize } from "../kvcache/pool_resize.ts";
import type { DecisionListener } from "../kvcache/prefix/cache_listener.ts";
import type { AdmissionGate } from "./admission_gate.ts";
import type { Counters } from "./counters.ts";
import { describeSize } from "./pool_errors.ts";
import { type SequenceGroup, totalDemand } from "./sequence_group.ts";
import type { SequenceQueues } from "./sequence_queues.ts";

/** The request that lacks blocks, and how many. */
export interface BlockShortage {
  /** The first sequence of the group that would be preempted or go on waiting. */
  readonly sequenceId: SequenceId;
  /**
   * Blocks (`PoolSize.numBlocks`) missing beside those that are free or can be evicted; at least 1.
   */
  readonly numMissing: number;
  /**
   * Whether it would end with an error instead: no other group runs that could give blocks back.
   */
  readonly isLone: boolean;
}

/** The parts of a scheduler that the pool's sizing works on. */
export interface PoolSizingParts {
  readonly queues: SequenceQueues;
  readonly counters: Counters;
  /** The head of the queue, if it was not admitted to the latest step for lack of blocks. */
  readonly blocked: () => SequenceGroup | undefined;
  readonly gate: AdmissionGate;
  /** Fails while a step is in flight. */
  readonly checkBetweenSteps: (action: string) => void;
  readonly onDecision: DecisionListener | undefined;
}

/** Says when the block pool is too small, and gives it another size between two steps. */
export class PoolSizing {
  readonly #blocks: BlockManager;
  readonly #maxModelLen: number;
  readonly #parts: PoolSizingParts;
  #maxNumBlocks = 0;

  /** @param maxModelLen most tokens of one sequence; one of these always fits. */
  constructor(blocks: BlockManager, maxModelLen: number, parts: PoolSizingParts) {
    this.#blocks = blocks;
    this.#maxModelLen = maxModelLen;
    this.#parts = parts;
  }

  /** Blocks in the pool; slabs, where several cache groups share it. */
  get numBlocks(): number {
    return this.#blocks.numBlocks;
  }

  /** Blocks that the pool may grow to by itself; no more than it has where it may not. */
  get maxNumBlocks(): number {
    return this.#maxNumBlocks;
  }

  /** Sets the limit of growth by itself, from now on; the owner of the memory knows it. */
  limitSize(numBlocks: number): void {
    this.#maxNumBlocks = numBlocks;
  }

  /**
   * The blocks that the next step lacks: it would preempt, or leave the head of the queue
   * unadmitted; undefined while there are enough. O(running groups), and O(blocks of a prompt)
   * while one waits.
   */
  shortage(): BlockShortage | undefined {
    const { queues } = this.#parts;
    const { running } = queues;
    const extensions = totalDemand(running, this.#blocks);
    const numMissing = this.#blocks.numMissingToExtend(extensions);
    if (numMissing > 0) {
      return { sequenceId: running.at(-1)!.id, numMissing, isLone: running.length === 1 };
    }
    // Where nothing runs, a group that lacks blocks ends with an error: the pool grows before that.
    const group = running.length === 0 ? queues.takeTurns().next : this.#parts.blocked();
    if (group?.state !== "waiting") return undefined;
    const numLacked = this.#parts.gate.numMissing(group);
    if (numLacked === 0) return undefined;
    const isLone = running.length === 0;
    return {
      sequenceId: group.id,
      numMissing: numLacked + this.#blocks.numSlabsFor(extensions),
      isLone,
    };
  }

  /**
   * Gives the pool `numBlocks` blocks; the device has to have them before a step uses them, and to
   * carry out the moves before it gives any up.
   *
   * @param grownFor the sequence for which the pool grows by itself; absent on demand.
   * @throws {RequestError} with the numbers when blocks in use or pinned would have to go (409), or
   * one sequence of the greatest length would not fit (400). Nothing has changed.
   */
  resize(numBlocks: number, grownFor?: SequenceId): PoolResize {
    this.#parts.checkBetweenSteps(`resize to ${numBlocks} blocks`);
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

  /** Tells that the device has refused to grow the pool to `numWanted` blocks. */
  tellRefusal(sequenceId: SequenceId, numWanted: number): void {
    const { numBlocks } = this.#blocks;
    this.#parts.onDecision?.({ type: "refuse_growth", sequenceId, numBlocks, numWanted });
  }

  /** Every accepted sequence can end in such a pool: none becomes longer than `maxModelLen`. */
  #checkHoldsLongest(numBlocks: number): void {
    const numNeeded = this.#blocks.numSlabsOf(this.#maxModelLen);
    if (numBlocks >= Math.min(numNeeded, this.#blocks.numBlocks)) return;
    const { blockSize, cacheGroups } = this.#blocks;
    const needed = describeSize({ numBlocks: numNeeded, blockSize, cacheGroups });
    throw new RequestError(
      `num_blocks must be at least ${numNeeded}, got ${numBlocks}: one sequence of ` +
        `${this.#maxModelLen} tokens takes ${needed}`,
      {
        code: "kv_pool_too_small",
        param: "num_blocks",
        details: { n_blocks: numBlocks, n_needed: numNeeded, n_ctx: this.#maxModelLen },
      },
    );
  }
}
