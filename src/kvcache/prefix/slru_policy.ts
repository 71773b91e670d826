import { invariant } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";
import { BlockLists } from "../pool/block_lists.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { EvictionPolicy } from "./eviction_policy.ts";

const PROBATION = 0;
const PROTECTED = 1;

/** Share of the pool that blocks in the protected segment may take; the classic four fifths. */
const PROTECTED_SHARE = 0.8;

/**
 * Evicts blocks that were never hit before those that were, each kind in order of last use, so that
 * a flood of prompts seen once does not wash out the ones that return. Segmented LRU after Karedla
 * et al. 1994, "Caching strategies to improve disk system performance" (Computer 27(3)).
 *
 * The protected segment is bounded: what falls out of it goes back on probation. A hit covers a
 * whole prefix, so a parent is protected whenever its child is, and the victim is a leaf. Every
 * operation is O(1). Memory: 10 bytes per block.
 */
export class SlruPolicy implements EvictionPolicy {
  #lists: BlockLists;
  /** 1 for blocks that were hit since they were cached, or since they fell back on probation. */
  #wasHit: Uint8Array;
  #maxNumProtected: number;

  constructor(numBlocks: number) {
    this.#lists = new BlockLists(numBlocks, 2);
    this.#wasHit = new Uint8Array(numBlocks);
    this.#maxNumProtected = Math.floor(PROTECTED_SHARE * numBlocks);
  }

  becomeCached(id: BlockId): void {
    this.#wasHit[id] = 0;
  }

  replace(before: BlockId, id: BlockId): void {
    this.#wasHit[id] = this.#wasHit[before]!;
  }

  hit(id: BlockId): void {
    this.#wasHit[id] = 1;
  }

  setRetention(): void {}

  becomeIdle(id: BlockId): void {
    this.#lists.putLast(this.#wasHit[id] === 1 ? PROTECTED : PROBATION, id);
    this.#demote();
  }

  becomeLeaf(): void {}

  remove(id: BlockId): void {
    this.#lists.remove(id);
  }

  next(): BlockId {
    const id = this.#lists.first(PROBATION) ?? this.#lists.first(PROTECTED);
    invariant(id !== undefined, "nothing to evict");
    return id;
  }

  resize(remap: BlockRemap): void {
    this.#lists = this.#lists.remapped(remap);
    this.#wasHit = remap.column(this.#wasHit);
    this.#maxNumProtected = Math.floor(PROTECTED_SHARE * remap.numBlocks);
    this.#demote();
  }

  checkIntegrity(numIdle: number): void {
    this.#lists.checkIntegrity();
    const numProtected = this.#lists.length(PROTECTED);
    const numListed = this.#lists.length(PROBATION) + numProtected;
    invariant(numListed === numIdle, `${numListed} blocks in the segments, ${numIdle} are idle`);
    invariant(
      numProtected <= this.#maxNumProtected,
      `${numProtected} blocks protected, at most ${this.#maxNumProtected} may be`,
    );
  }

  /** Puts the longest idle of too many protected blocks back on probation. */
  #demote(): void {
    while (this.#lists.length(PROTECTED) > this.#maxNumProtected) {
      const demoted = this.#lists.first(PROTECTED)!;
      this.#lists.remove(demoted);
      this.#wasHit[demoted] = 0;
      this.#lists.putLast(PROBATION, demoted);
    }
  }
}
