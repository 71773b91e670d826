import {
  type CacheSpec,
  isInRange,
  isWindow,
  type LiveRange,
  liveRange,
  NO_BLOCK,
} from "../../core/cache_group.ts";
import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { BlockCaching } from "../prefix/group_nodes.ts";
import type { PrefixCache } from "../prefix/prefix_cache.ts";
import type { NodeId } from "../prefix/radix_tree.ts";
import type { BlockTables } from "./block_tables.ts";

/** A block that becomes full: its node, its index in the tables, and how it is cached. */
export interface FullBlock {
  readonly node: NodeId;
  readonly index: number;
  readonly tables: BlockTables;
  readonly caching: BlockCaching;
}

/**
 * Which blocks of windows one path keeps findable: **tails**, what a hit of some length needs.
 *
 *     window 20  [   .    ][   .    ][   5    ][   2    ][   6    ]     tail of 80; 5 goes with it
 *
 * One tail is that of the last block boundary; it moves along, and is that of the answer at the
 * end. The others are those of lengths that are kept. A block that leaves the last tail it is in is
 * free at once. Attention chunks have tails as windows do.
 */
export class WindowTails {
  readonly #cache: PrefixCache;
  /** Lengths at which a later hit may end. */
  readonly #keep: readonly number[];
  /** Per group, blocks of the moving tail that this path has made findable, by index, ascending. */
  readonly #moving: readonly Map<number, BlockId>[];
  /** Leading blocks that are full of computed tokens. */
  #numFull = 0;

  /** @param source the tails of the path that this one forks, and the blocks they share. */
  constructor(
    cache: PrefixCache,
    keep: readonly number[],
    source?: { readonly tails: WindowTails; readonly numBlocks: number },
  ) {
    this.#cache = cache;
    this.#keep = keep;
    this.#moving = cache.groups.map((_, group) => {
      if (source === undefined) return new Map();
      const shared = source.tails.#moving[group]!.entries();
      return new Map(shared.filter(([index]) => index < source.numBlocks));
    });
  }

  /** The moving tail is that of so many full blocks from now on. */
  moveTo(numFull: number): void {
    this.#numFull = numFull;
  }

  /** Makes blocks of windows findable at a node where none are and a tail needs them. */
  offer({ node, index, tables, caching }: FullBlock): void {
    const { groups, columns, groupNodes } = this.#cache;
    groups.forEach((spec, group) => {
      if (!isWindow(spec) || columns!.blockOf(node, group) !== NO_BLOCK) return;
      const id = tables[group]![index];
      if (id === undefined || id === NO_BLOCK) return;
      if (!isInRange(this.#movingTail(spec), index) && !this.#isKept(spec, index)) return;
      groupNodes!.setBlock({ node, group, id }, caching);
      this.#moving[group]!.set(index, id);
    });
  }

  /**
   * Frees what has left the last tail that it was in, after the tables have let it go. O(1) per
   * block that leaves.
   *
   * @param path the nodes of the path.
   */
  dropPassed(path: readonly NodeId[]): void {
    this.#cache.groups.forEach((spec, group) => {
      if (!isWindow(spec)) return;
      const tail = this.#movingTail(spec);
      const moving = this.#moving[group]!;
      for (const [index, id] of moving) {
        if (index >= tail.start) break;
        moving.delete(index);
        const node = path[index];
        if (node === undefined || isInRange(tail, index) || this.#isKept(spec, index)) continue;
        this.#cache.groupNodes!.dropIdle({ node, group, id });
      }
    });
  }

  /** Follows blocks to their new ids. */
  remap(remap: BlockRemap): void {
    for (const moving of this.#moving) {
      // What was evicted since may be gone; what is there under its id is not this path's.
      for (const [index, id] of moving) if (remap.keeps(id)) moving.set(index, remap.idOf(id));
    }
  }

  #movingTail(spec: CacheSpec): LiveRange {
    return this.#tailAt(spec, this.#numFull * this.#cache.blockSize);
  }

  #isKept(spec: CacheSpec, index: number): boolean {
    return this.#keep.some((numTokens) => isInRange(this.#tailAt(spec, numTokens), index));
  }

  /** What a hit of `numTokens`, a block boundary, needs. */
  #tailAt(spec: CacheSpec, numTokens: number): LiveRange {
    return liveRange(spec, numTokens, this.#cache.blockSize);
  }
}
