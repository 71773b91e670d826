import { invariant } from "../../base/invariant.ts";
import type { SequenceId } from "../../core/ids.ts";
import { IndexLists, NO_LIST } from "./index_lists.ts";

/** Lists of slabs; the partial slabs of group `g` are list `PARTIAL + g`. */
const FREE = 0;
const EVICTABLE = 1;
const PARTIAL = 2;

/** Group of a slab that belongs to none. */
const NO_GROUP = -1;

/**
 * The upper level of the pool: which group has each slab, and how many of its blocks are used or
 * cached.
 *
 *     free        no block used or cached; belongs to no group. The one freed last is opened first
 *     evictable   none used, some cached: can go as a whole. In the order of last use
 *     partial     some used, some free
 *     (no list)   some used, none free
 *
 * Every move is O(1). About 20 bytes per slab, and 8 more where slabs are cut into several blocks.
 */
export class SlabStates {
  readonly numSlabs: number;
  readonly blocksPerSlab: readonly number[];
  readonly #lists: IndexLists;
  readonly #groups: Int16Array;
  readonly #numUsed: Uint32Array;
  readonly #numCached: Uint32Array;
  /**
   * The owner for which a slab was opened; empty where a slab is one block and so never partial.
   */
  readonly #owners: Float64Array;
  /** Per owner and group, the partial slabs that were opened for that owner. */
  readonly #partials = new Map<SequenceId, Set<number>[]>();
  readonly #numFreeInUsed: Float64Array;
  readonly #numCachedInUsed: Float64Array;

  /** `numSlabs` free slabs, each of which can become `blocksPerSlab[g]` blocks of group `g`. */
  constructor(numSlabs: number, blocksPerSlab: readonly number[]) {
    invariant(Number.isInteger(numSlabs) && numSlabs > 0, `a pool of ${numSlabs} slabs`);
    const numGroups = blocksPerSlab.length;
    this.numSlabs = numSlabs;
    this.blocksPerSlab = blocksPerSlab;
    this.#lists = new IndexLists(numSlabs, PARTIAL + numGroups);
    for (let slab = 0; slab < numSlabs; slab++) this.#lists.putLast(FREE, slab);
    this.#groups = new Int16Array(numSlabs).fill(NO_GROUP);
    this.#numUsed = new Uint32Array(numSlabs);
    this.#numCached = new Uint32Array(numSlabs);
    this.#owners = new Float64Array(blocksPerSlab.every((count) => count === 1) ? 0 : numSlabs);
    this.#numFreeInUsed = new Float64Array(numGroups);
    this.#numCachedInUsed = new Float64Array(numGroups);
  }

  /** Slabs that belong to no group. */
  get numFree(): number {
    return this.#lists.count(FREE);
  }

  /** Slabs that hold cached blocks and no used one. */
  get numEvictable(): number {
    return this.#lists.count(EVICTABLE);
  }

  /** Owners with a first choice of slabs. */
  get numOwners(): number {
    return this.#partials.size;
  }

  /** Blocks of `group` that are free, in slabs with used ones. */
  numFreeInUsed(group: number): number {
    return this.#numFreeInUsed[group]!;
  }

  /** Blocks of `group` that are cached, in slabs with used ones. */
  numCachedInUsed(group: number): number {
    return this.#numCachedInUsed[group]!;
  }

  /** The group that has `slab`, or undefined when it is free. */
  groupOf(slab: number): number | undefined {
    const group = this.#groups[slab]!;
    return group === NO_GROUP ? undefined : group;
  }

  /** Whether `slab` holds cached blocks and no used one. */
  isEvictable(slab: number): boolean {
    return this.#lists.listOf(slab) === EVICTABLE;
  }

  /** The evictable slab that was used longest ago, or undefined. */
  oldestEvictable(): number | undefined {
    return this.#lists.first(EVICTABLE);
  }

  /** The evictable slabs in the order of last use. */
  evictable(): Generator<number> {
    return this.#lists.items(EVICTABLE);
  }

  /** A partial slab of `group` that was opened for `owner`, or undefined. */
  ownPartial(group: number, owner: SequenceId): number | undefined {
    if (this.blocksPerSlab[group] === 1) return undefined;
    return this.#partials.get(owner)?.[group]?.values().next().value;
  }

  /** Any partial slab of `group`, or undefined. */
  anyPartial(group: number): number | undefined {
    return this.#lists.first(PARTIAL + group);
  }

  /** Gives the slab that was freed last to `group`, for `owner`; one must be free. */
  open(group: number, owner: SequenceId): number {
    const slab = this.#lists.first(FREE);
    invariant(slab !== undefined, "open a slab, none is free");
    this.#lists.remove(slab);
    this.#groups[slab] = group;
    if (this.blocksPerSlab[group]! === 1) return slab;
    this.#owners[slab] = owner;
    if (!this.#partials.has(owner)) {
      this.#partials.set(owner, this.blocksPerSlab.map(() => new Set()));
    }
    return slab;
  }

  /**
   * Changes how many blocks of `slab` are used and cached, and puts it on the list of its state.
   */
  change(slab: number, numUsed: number, numCached: number): void {
    const group = this.#groups[slab]!;
    // A used slab of one block has nothing in it that is free or cached.
    const isCut = this.blocksPerSlab[group]! > 1;
    if (isCut) this.#count(slab, -1);
    this.#numUsed[slab]! += numUsed;
    this.#numCached[slab]! += numCached;
    if (isCut) this.#count(slab, 1);
    const from = this.#lists.listOf(slab);
    const to = this.#listFor(slab);
    if (from === to) return;
    if (from !== NO_LIST) this.#lists.remove(slab);
    if (from >= PARTIAL) this.#partials.get(this.#owners[slab]!)?.[group]?.delete(slab);
    if (to === FREE) {
      this.#lists.putFirst(FREE, slab);
      this.#groups[slab] = NO_GROUP;
    } else if (to !== NO_LIST) this.#lists.putLast(to, slab);
    if (to >= PARTIAL) this.#partials.get(this.#owners[slab]!)?.[group]?.add(slab);
  }

  /** Ends `owner`'s first choice of the slabs that were opened for it; others may fill them. */
  forgetOwner(owner: SequenceId): void {
    this.#partials.delete(owner);
  }

  /** Audit, given how many blocks of a slab are truly used and cached. O(slabs). */
  checkIntegrity(countsOf: (slab: number) => { numUsed: number; numCached: number }): void {
    this.#lists.checkIntegrity();
    const numFree = this.blocksPerSlab.map(() => 0);
    const numCached = this.blocksPerSlab.map(() => 0);
    for (let slab = 0; slab < this.numSlabs; slab++) {
      const counts = countsOf(slab);
      const list = this.#lists.listOf(slab);
      const group = this.#groups[slab]!;
      invariant(
        this.#numUsed[slab] === counts.numUsed && this.#numCached[slab] === counts.numCached,
        `slab ${slab} has ${counts.numUsed} used and ${counts.numCached} cached blocks, counts ` +
          `${this.#numUsed[slab]} and ${this.#numCached[slab]}`,
      );
      invariant(list === this.#listFor(slab), `slab ${slab} is on list ${list}`);
      invariant((list === FREE) === (group === NO_GROUP), `slab ${slab} of ${group} on ${list}`);
      const own = this.#partials.get(this.#owners[slab] ?? NaN)?.[group];
      invariant(
        own === undefined || own.has(slab) === list >= PARTIAL,
        `slab ${slab} of its owner`,
      );
      if (counts.numUsed === 0) continue;
      numCached[group]! += counts.numCached;
      numFree[group]! += this.#numFreeBlocks(slab);
    }
    this.blocksPerSlab.forEach((_, group) =>
      invariant(
        numFree[group] === this.#numFreeInUsed[group] &&
          numCached[group] === this.#numCachedInUsed[group],
        `group ${group}: ${numFree[group]} free and ${
          numCached[group]
        } cached blocks in used slabs`,
      )
    );
  }

  #listFor(slab: number): number {
    if (this.#numUsed[slab] === 0) return this.#numCached[slab] === 0 ? FREE : EVICTABLE;
    return this.#numFreeBlocks(slab) > 0 ? PARTIAL + this.#groups[slab]! : NO_LIST;
  }

  #numFreeBlocks(slab: number): number {
    const numBlocks = this.blocksPerSlab[this.#groups[slab]!]!;
    return numBlocks - this.#numUsed[slab]! - this.#numCached[slab]!;
  }

  /** Adds the free and cached blocks of a slab with used ones to its group's, or takes them off. */
  #count(slab: number, sign: 1 | -1): void {
    if (this.#numUsed[slab] === 0) return;
    const group = this.#groups[slab]!;
    this.#numFreeInUsed[group]! += sign * this.#numFreeBlocks(slab);
    this.#numCachedInUsed[group]! += sign * this.#numCached[slab]!;
  }
}
