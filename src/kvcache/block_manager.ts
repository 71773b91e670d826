import { invariant } from "../base/invariant.ts";
import { OutOfBlocksError } from "../core/errors.ts";
import type { BlockId, SequenceId } from "../core/ids.ts";
import { BlockPool } from "./block_pool.ts";
import { numBlocksForTokens } from "../core/kv_layout.ts";

/** The sizes of the KV pool, as decided at start. */
export interface BlockManagerOptions {
  readonly numBlocks: number;
  /** Token positions per block. */
  readonly blockSize: number;
  /**
   * Blocks an admission leaves free while other sequences hold some, so that those can grow for a
   * while before one must be preempted. Default: one percent of the pool.
   */
  readonly numWatermarkBlocks?: number;
}

/** What an admitted sequence starts with. */
export interface Admission {
  /** Leading positions whose KV is in the pool already. */
  readonly numCachedTokens: number;
}

/**
 * The door of the KV cache: gives each admitted sequence a block table and takes it back.
 *
 * A block table lists the blocks of one sequence in order of position: position `p` lies in entry
 * `floor(p / blockSize)`. A table only ever grows, at its end, until it is freed whole; so a plan
 * that carries it stays true. The manager owns the tables and one reference to each block in them;
 * nobody else allocates.
 *
 * Every operation costs O(blocks moved), never O(pool) nor O(table).
 */
export class BlockManager {
  readonly blockSize: number;
  readonly #numWatermarkBlocks: number;
  readonly #pool: BlockPool;
  readonly #tables = new Map<SequenceId, BlockId[]>();

  constructor(options: BlockManagerOptions) {
    this.blockSize = options.blockSize;
    this.#numWatermarkBlocks = options.numWatermarkBlocks ?? Math.floor(options.numBlocks / 100);
    this.#pool = new BlockPool(options.numBlocks);
  }

  /** Blocks in the pool. */
  get numBlocks(): number {
    return this.#pool.numBlocks;
  }

  /** Blocks that no table holds. */
  get numFree(): number {
    return this.#pool.numFree;
  }

  /** Sequences with a block table. */
  get numTables(): number {
    return this.#tables.size;
  }

  /** Blocks that `numTokens` positions take. */
  numBlocksFor(numTokens: number): number {
    return numBlocksForTokens(numTokens, this.blockSize);
  }

  /**
   * Whether a sequence of `numTokens` could be admitted at once.
   *
   * The watermark does not apply to the first: nobody else could grow into those blocks, and a
   * sequence that needs the whole pool would wait for ever.
   */
  canAdmit(numTokens: number): boolean {
    const numKept = this.#tables.size === 0 ? 0 : this.#numWatermarkBlocks;
    return this.numBlocksFor(numTokens) <= this.numFree - numKept;
  }

  /** Gives sequence `id` a table that covers `numTokens` positions, or undefined and nothing. */
  tryAdmit(id: SequenceId, numTokens: number): Admission | undefined {
    invariant(!this.#tables.has(id), `sequence ${id} has a block table already`);
    if (!this.canAdmit(numTokens)) return undefined;
    this.#tables.set(id, this.#pool.allocate(this.numBlocksFor(numTokens)));
    return { numCachedTokens: 0 };
  }

  /** Makes the table of sequence `id` cover at least `numTokens` positions, or changes nothing. */
  tryExtend(id: SequenceId, numTokens: number): boolean {
    const table = this.#table(id);
    const numMissing = this.numBlocksFor(numTokens) - table.length;
    if (numMissing <= 0) return true;
    try {
      table.push(...this.#pool.allocate(numMissing));
      return true;
    } catch (error) {
      if (error instanceof OutOfBlocksError) return false;
      throw error;
    }
  }

  /**
   * The block table of sequence `id`, as it grows: later calls of `tryExtend` append to the same list,
   * and `free` leaves it as it was.
   */
  blockTable(id: SequenceId): readonly BlockId[] {
    return this.#table(id);
  }

  /** Takes the table of sequence `id` back; its blocks are free unless someone else holds them. */
  free(id: SequenceId): void {
    this.#pool.release(this.#table(id));
    this.#tables.delete(id);
  }

  /**
   * Audit: every block's count equals the number of tables that hold it, so that free and held
   * blocks add up to the pool. O(pool + tables).
   */
  checkIntegrity(): void {
    this.#pool.checkIntegrity();
    const numHolders = new Uint32Array(this.numBlocks);
    for (const [id, table] of this.#tables) {
      invariant(new Set(table).size === table.length, `sequence ${id} holds a block twice`);
      for (const block of table) numHolders[block]!++;
    }
    const wrong = numHolders.findIndex((count, block) => count !== this.#pool.refCount(block));
    invariant(wrong < 0, `block ${wrong} is in ${numHolders[wrong]} tables, not what it counts`);
  }

  #table(id: SequenceId): BlockId[] {
    const table = this.#tables.get(id);
    invariant(table !== undefined, `sequence ${id} has no block table`);
    return table;
  }
}
