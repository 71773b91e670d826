import { InvariantError } from "../../base/invariant.ts";
import type { BlockId, SequenceId } from "../../core/ids.ts";
import type { BlockRemap } from "./block_remap.ts";

/** How many blocks of each group, in the groups' order. */
export type Demand = readonly number[];

/** Both demands together. */
export function addDemands(a: Demand, b: Demand): Demand {
  return a.map((count, group) => count + b[group]!);
}

/** What is asked of a pool at once, all or nothing. */
export interface BlockNeed {
  /** Blocks to take. */
  readonly demand: Demand;
  /** Cached blocks that will be held as well, each once: those that are idle are no room then. */
  readonly hits?: readonly BlockId[];
  /** Slabs to leave over. */
  readonly numHeadroomSlabs?: number;
}

/**
 * Where block tables get their blocks: the pool itself, or a prefix cache that makes room in it.
 */
export interface BlockSource {
  /** Slabs that a need lacks; 0 or less where it is met. */
  countMissing(need: BlockNeed): number;
  /**
   * Takes blocks for `sequence`, per group, each with one reference; {@link countMissing} says
   * whether there are as many.
   */
  take(demand: Demand, sequence: SequenceId): BlockId[][];
  /** Adds one reference to each block; `ids` begin with those that hold earlier positions. */
  retain(ids: readonly BlockId[]): void;
  /** Drops one reference from each block; `ids` begin with those that hold earlier positions. */
  release(ids: readonly BlockId[]): void;
}

/**
 * Memory in slabs, each of which belongs to one group at a time and is cut into its blocks.
 *
 * One rule says what a block is: it is **in use** while it has references (tables, pins and copies
 * in flight hold one each), **idle** while it has none and is marked as cached, and free otherwise.
 *
 * A block's id is unique among all groups: block `i` of slab `s` is `s * maxPerSlab + i`, with the
 * most blocks that any group cuts a slab into. Where slabs are not cut, block and slab are the
 * same. A call that throws has changed nothing.
 */
export interface Pool extends BlockSource {
  /** Block ids; those that a slab has beyond what its group cuts it into are not used. */
  readonly numBlocks: number;
  readonly numSlabs: number;
  /** Slabs without a block that is in use or idle. */
  readonly numFree: number;
  /** Slabs with idle blocks and none in use: they can be made free. */
  readonly numIdle: number;
  /** References held on block `id`. */
  refCount(id: BlockId): number;
  isMarked(id: BlockId): boolean;
  /** Whether block `id` is marked and has no reference. */
  isIdle(id: BlockId): boolean;
  /** Marks block `id`, which is in use, as cached: without references it stays. */
  mark(id: BlockId): void;
  /** Takes the mark of block `id` away; without references it is free. */
  unmark(id: BlockId): void;
  /** Adds one reference to each block; none may be free. */
  retain(ids: readonly BlockId[]): void;
  /** Drops one reference from each block; `ids` begin with those that hold earlier positions. */
  release(ids: readonly BlockId[]): void;
  /** Slabs that a need lacks when all that is idle is evicted; 0 or less where it is met. */
  countMissing(need: BlockNeed): number;
  /** Slabs that so many blocks fill. */
  numSlabsFor(demand: Demand): number;
  /**
   * Takes blocks for `sequence`, per group, each with one reference. They must be there, see {@link
   * countMissing}; `evict` makes the next idle block free, and is absent where none is ever idle.
   */
  take(demand: Demand, sequence: SequenceId, evict?: () => void): BlockId[][];
  /** Says that `sequence` takes nothing more. */
  forgetSequence(sequence: SequenceId): void;
  /** The group that has block `id`, where its slab says so. */
  groupOf(id: BlockId): number | undefined;
  /** The id of block `id` among the blocks of its group alone, as the device counts them. */
  idInGroup(id: BlockId, group: number): BlockId;
  /** How blocks that are not free fit into `numSlabs` slabs, which are enough. Changes nothing. */
  planResize(numSlabs: number): BlockRemap;
  /** Takes the new size and ids of such a plan. O(pool). */
  resize(remap: BlockRemap): void;
  /** Audit: counts, marks and lists agree. O(pool). */
  checkIntegrity(): void;
}

/** Stands in for eviction where no block is ever idle. */
export function outOfBlocks(): never {
  throw new InvariantError("blocks are taken which are not there");
}
