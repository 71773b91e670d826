import type { BlockMove } from "../core/batch.ts";
import type { PoolResized } from "../core/engine_command.ts";
import { RequestError } from "../core/errors.ts";
import type { BlockShortage, PoolSizing } from "../scheduler/pool_sizing.ts";

/** The owner of the memory that the pool is in. */
export interface ElasticRunner {
  /**
   * Gives the KV memory `numBlocks` blocks, after `moves` have been carried out. A smaller size
   * always fits.
   *
   * @throws {RangeError} when the device has no room; the memory is as it was.
   */
  resizeKv(numBlocks: number, moves: readonly BlockMove[]): Promise<void>;
}

/**
 * Smallest growth, as a share of the pool, that is tried after the device has refused a larger one.
 */
const MIN_GROWTH = 1 / 8;

/**
 * Resizes the pool and its memory together, between two steps: on demand, and by itself under load.
 *
 * It grows when a sequence would have to be preempted or waits for blocks, to twice its size at a
 * time, until a limit or until the device refuses. After a refusal half of that is tried the next
 * time, or at once for a sequence that would end otherwise; when even an eighth is refused, the
 * pool has reached its limit. It never shrinks by itself.
 */
export class ElasticPool {
  readonly #sizing: PoolSizing;
  readonly #runner: ElasticRunner;
  #growth = 1;

  /** @param limit blocks that it may grow to by itself. */
  constructor(sizing: PoolSizing, runner: ElasticRunner, limit: number) {
    this.#sizing = sizing;
    this.#runner = runner;
    sizing.limitSize(limit);
  }

  /**
   * The shortage that the pool is to grow for before the next step; undefined without one or at the
   * limit.
   */
  shortage(): BlockShortage | undefined {
    const { numBlocks, maxNumBlocks } = this.#sizing;
    return numBlocks < maxNumBlocks ? this.#sizing.shortage() : undefined;
  }

  /** Grows the pool for a sequence as far as limit and device allow. No step is in flight. */
  async grow(shortage: BlockShortage): Promise<void> {
    const { sequenceId, numMissing, isLone } = shortage;
    const { numBlocks, maxNumBlocks } = this.#sizing;
    const numAdded = Math.max(numMissing, Math.ceil(this.#growth * numBlocks));
    const numWanted = Math.min(maxNumBlocks, numBlocks + numAdded);
    try {
      await this.#runner.resizeKv(numWanted, []);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#sizing.tellRefusal(sequenceId, numWanted);
      this.#growth /= 2;
      const isLittle = this.#growth < MIN_GROWTH && !isLone;
      const isAll = isLittle || numAdded === numMissing;
      if (isAll) this.#sizing.limitSize(numBlocks);
      else if (isLone) await this.grow(shortage);
      return;
    }
    this.#sizing.resize(numWanted, sequenceId);
  }

  /**
   * Resizes the pool on demand; it grows no more by itself then. No step is in flight.
   *
   * @throws {RequestError} when the blocks in use would not fit (409), one sequence of the greatest
   * length would not (400), or the device has no room (409). Nothing has changed.
   */
  async resize(numBlocks: number): Promise<PoolResized> {
    const numBefore = this.#sizing.numBlocks;
    const isGrowing = numBlocks > numBefore;
    if (isGrowing) await this.#runner.resizeKv(numBlocks, []).catch(refuse(numBlocks, numBefore));
    const { numEvicted, moves } = this.#sizing.resize(numBlocks);
    if (!isGrowing) await this.#runner.resizeKv(numBlocks, moves);
    this.#sizing.limitSize(numBlocks);
    return { numBefore, numAfter: numBlocks, numEvicted, numMoved: moves.length };
  }
}

/** The refusal when the device has no room for a larger pool. */
function refuse(numBlocks: number, numBefore: number): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof RangeError)) throw error;
    throw new RequestError(
      `The device has no memory for a KV pool of ${numBlocks} blocks, it keeps its ${numBefore}: ` +
        error.message,
      {
        status: 409,
        code: "out_of_device_memory",
        param: "num_blocks",
        details: { n_blocks: numBlocks, n_before: numBefore },
      },
    );
  };
}
