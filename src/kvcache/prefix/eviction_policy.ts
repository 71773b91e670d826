import type { CacheRetention } from "../../core/generation.ts";
import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "../pool/block_remap.ts";

/** The block of the same group above a block on its path; undefined for the first. */
export type ParentOf = (id: BlockId) => BlockId | undefined;

/**
 * Decides in which order idle cached blocks are evicted.
 *
 * A block is idle when only the prefix cache holds it and everything below it in the tree is idle.
 * Blocks are added as they become idle, children before parents; of those that are used again a
 * parent is removed before its children. The victim is always a leaf, so the end of a prompt goes
 * before its start. Ties are broken by the order of events, never by the time of day.
 */
export interface EvictionPolicy {
  /** A block has been cached; whatever was known of its id before is void. */
  becomeCached(id: BlockId): void;
  /** Block `id` has replaced `before`, and takes over what is known of it. Not idle. */
  replace(before: BlockId, id: BlockId): void;
  /**
   * The prompt of a newly admitted sequence has been found to start with this block, among others.
   */
  hit(id: BlockId): void;
  /** A request asks for its blocks to be kept in this way; the latest wish counts. Not idle. */
  setRetention(id: BlockId, retention: CacheRetention): void;
  /** A block has become idle. */
  becomeIdle(id: BlockId, isLeaf: boolean): void;
  /** An idle block has lost its last child. */
  becomeLeaf(id: BlockId): void;
  /** An idle block is used again, or gone. */
  remove(id: BlockId): void;
  /** The idle block to evict next; there must be one. */
  next(): BlockId;
  /** The pool has another size, and blocks that stay may have other ids. O(pool). */
  resize(remap: BlockRemap): void;
  /** Audit, with the number of idle blocks. O(pool). */
  checkIntegrity(numIdle: number): void;
}
