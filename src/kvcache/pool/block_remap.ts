import { InvariantError } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";

/** A block that gets another id. */
export interface IdChange {
  readonly from: BlockId;
  readonly to: BlockId;
}

/** What is known of blocks, some entries for each. */
type Column = Int8Array | Uint8Array | Int32Array | Uint32Array | Float64Array;

/**
 * How block ids change as the pool gets another size.
 *
 *     numBlocks 4    before  [ A ][ . ][ B ][ . ][ C ][ . ][ D ]
 *     moves 4>1 6>3  after   [ A ][ C ][ B ][ D ]
 *
 * Blocks below the new end keep their ids. Those at or above it that are still needed move to free
 * ids below it, each to its own; all others at or above it are gone. A pool that grows moves
 * nothing.
 */
export class BlockRemap {
  /** Blocks of the pool afterwards. */
  readonly numBlocks: number;
  /** In no particular order: no block is both left and moved to. */
  readonly moves: readonly IdChange[];
  readonly #targets: ReadonlyMap<BlockId, BlockId>;

  constructor(numBlocks: number, moves: readonly IdChange[]) {
    this.numBlocks = numBlocks;
    this.moves = moves;
    this.#targets = new Map(moves.map(({ from, to }) => [from, to]));
  }

  /** Whether block `id` is still there, under whichever id. */
  keeps(id: BlockId): boolean {
    return id < this.numBlocks || this.#targets.has(id);
  }

  /** The new id of block `id`, which is still there. */
  idOf(id: BlockId): BlockId {
    const target = id < this.numBlocks ? id : this.#targets.get(id);
    if (target === undefined) {
      throw new InvariantError(`block ${id} is needed in a pool of ${this.numBlocks} blocks`);
    }
    return target;
  }

  /** The new ids of `ids`, in their order. */
  idsOf(ids: readonly BlockId[]): BlockId[] {
    return ids.map((id) => this.idOf(id));
  }

  /**
   * A column of the new size in which each block that is still there has its `width` entries of
   * `column`; those of new blocks are `fill`. O(pool).
   */
  column<T extends Column>(
    column: T,
    { width = 1, fill = 0 }: { readonly width?: number; readonly fill?: number } = {},
  ): T {
    const next = new (column.constructor as new (length: number) => T)(width * this.numBlocks);
    if (fill !== 0) next.fill(fill);
    // Views cost more than the entries of a small pool, and of a block.
    next.set(column.length > next.length ? column.subarray(0, next.length) : column);
    for (const { from, to } of this.moves) {
      for (let i = 0; i < width; i++) next[width * to + i] = column[width * from + i]!;
    }
    return next;
  }
}
