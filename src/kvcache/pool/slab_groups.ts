import { ceilDiv } from "../../base/math.ts";
import type { SequenceId } from "../../core/ids.ts";
import { BlockLists } from "./block_lists.ts";
import { BlockPool } from "./block_pool.ts";
import type { BlockRemap, IdChange } from "./block_remap.ts";
import type { Demand } from "./pool.ts";

/**
 * Which group has which slab, which sequence it was opened for, and which slabs are free, idle or
 * **partial**: in use, with free blocks left.
 *
 * The slabs are a {@link BlockPool} themselves: one reference to a slab for each of its blocks in
 * use, and a mark while it has idle ones. Of blocks it knows how many there are, and not which.
 * O(1) per operation; about 40 bytes per slab.
 */
export class SlabGroups {
  readonly #perSlab: Demand;
  readonly #slabs: BlockPool;
  /** The group that has each slab; valid while the slab is not free. */
  #groups: Int8Array;
  /** The sequence that each slab was opened for. */
  #openedFor: Float64Array;
  #numIdleIn: Uint32Array;
  /** Partial slabs, by group. */
  #partial: BlockLists;
  /** Those of them that were opened for a sequence that may take more, per group. */
  readonly #partialOf = new Map<SequenceId, Set<number>[]>();
  /** Per group, blocks in slabs in use that are free, and that are idle. */
  readonly #numFreeInUsed: number[];
  readonly #numIdleInUsed: number[];

  /** `numSlabs` free slabs, each of which can become `perSlab[g]` blocks of group `g`. */
  constructor(numSlabs: number, perSlab: Demand) {
    this.#perSlab = perSlab;
    this.#slabs = new BlockPool(numSlabs);
    this.#groups = new Int8Array(numSlabs);
    this.#openedFor = new Float64Array(numSlabs);
    this.#numIdleIn = new Uint32Array(numSlabs);
    this.#partial = new BlockLists(numSlabs, perSlab.length);
    this.#numFreeInUsed = perSlab.map(() => 0);
    this.#numIdleInUsed = perSlab.map(() => 0);
  }

  get numSlabs(): number {
    return this.#slabs.numSlabs;
  }

  /** Slabs without a block that is in use or idle. */
  get numFree(): number {
    return this.#slabs.numFree;
  }

  /** Slabs with idle blocks and none in use. */
  get numIdle(): number {
    return this.#slabs.numIdle;
  }

  /** The group that has `slab`, which is not free. */
  groupOf(slab: number): number {
    return this.#groups[slab]!;
  }

  /** Blocks that `slab`, which is not free, is cut into. */
  numBlocksIn(slab: number): number {
    return this.#perSlab[this.#groups[slab]!]!;
  }

  isFree(slab: number): boolean {
    return this.#slabs.refCount(slab) === 0 && !this.#slabs.isMarked(slab);
  }

  /** Whether `slab` has idle blocks and none in use. */
  isIdle(slab: number): boolean {
    return this.#slabs.isIdle(slab);
  }

  /** Blocks of slabs in use that `group` can take, once idle ones are evicted. */
  numInUsedSlabs(group: number): number {
    return this.#numFreeInUsed[group]! + this.#numIdleInUsed[group]!;
  }

  /** Fewest further slabs that each group can do with, given what it takes of those in use. */
  countNeeded(demand: Demand, numInUsedSlabs: readonly number[]): number[] {
    return demand.map((count, group) =>
      ceilDiv(Math.max(0, count - numInUsedSlabs[group]!), this.#perSlab[group]!)
    );
  }

  /** Whether nobody but `sequence` may take more. */
  isAlone(sequence: SequenceId): boolean {
    return this.#partialOf.size === 0 ||
      (this.#partialOf.size === 1 && this.#partialOf.has(sequence));
  }

  /** A partial slab of `group` that was opened for `sequence`. */
  ownPartial(sequence: SequenceId, group: number): number | undefined {
    return this.#partialOf.get(sequence)?.[group]?.values().next().value;
  }

  /** The partial slab of `group` that has been so for longest. */
  firstPartial(group: number): number | undefined {
    return this.#partial.first(group);
  }

  /** Gives a free slab to `group`, for `sequence`, which takes a block of it at once. */
  open(group: number, sequence: SequenceId): number {
    const [slab] = this.#slabs.allocate(1);
    this.#slabs.release([slab!]);
    this.#groups[slab!] = group;
    this.#openedFor[slab!] = sequence;
    if (!this.#partialOf.has(sequence)) {
      this.#partialOf.set(
        sequence,
        this.#perSlab.map(() => new Set()),
      );
    }
    return slab!;
  }

  /** Says that `sequence` takes nothing more. */
  forgetSequence(sequence: SequenceId): void {
    this.#partialOf.delete(sequence);
  }

  /** Changes how many blocks of `slab` are in use and idle, and puts it where it belongs. */
  change(slab: number, numUsed: 1 | 0 | -1, numIdle: 1 | 0 | -1): void {
    this.#count(slab, -1);
    const numIdleBefore = this.#numIdleIn[slab]!;
    // A reference is added first and dropped last, so that a slab is never free in between.
    if (numUsed === 1) this.#slabs.retain([slab]);
    this.#numIdleIn[slab] = numIdleBefore + numIdle;
    if (numIdle === 1 && numIdleBefore === 0) this.#slabs.mark(slab);
    if (numIdle === -1 && numIdleBefore === 1) this.#slabs.unmark(slab);
    if (numUsed === -1) this.#slabs.release([slab]);
    this.#count(slab, 1);
    this.#list(slab);
  }

  /** Which slabs move to fit into `numSlabs`. Changes nothing. */
  planResize(numSlabs: number): readonly IdChange[] {
    return this.#slabs.planResize(numSlabs).moves;
  }

  /** Takes the slabs' new number and ids. O(slabs). */
  resize(remap: BlockRemap): void {
    const sequences = [...this.#partialOf.keys()];
    this.#slabs.resize(remap);
    this.#groups = remap.column(this.#groups);
    this.#openedFor = remap.column(this.#openedFor);
    this.#numIdleIn = remap.column(this.#numIdleIn);
    this.#partial = this.#partial.remapped(remap);
    this.#partialOf.clear();
    for (const sequence of sequences) {
      this.#partialOf.set(
        sequence,
        this.#perSlab.map(() => new Set<number>()),
      );
    }
    for (let slab = 0; slab < this.numSlabs; slab++) if (!this.isFree(slab)) this.#list(slab);
  }

  /** What is counted and listed of a slab that is not free; for audits. */
  standingOf(slab: number) {
    const group = this.#groups[slab]!;
    return {
      group,
      numUsed: this.#slabs.refCount(slab),
      numIdle: this.#numIdleIn[slab]!,
      isMarked: this.#slabs.isMarked(slab),
      list: this.#partial.listOf(slab),
      isOffered: this.#partialOf.get(this.#openedFor[slab]!)?.[group]?.has(slab) ?? false,
    };
  }

  /** What is counted of a group in slabs in use; for audits. */
  countsOf(group: number) {
    return { numFree: this.#numFreeInUsed[group]!, numIdle: this.#numIdleInUsed[group]! };
  }

  /** Audit: references, marks and lists of slabs are whole. O(slabs). */
  checkIntegrity(): void {
    this.#slabs.checkIntegrity();
    this.#partial.checkIntegrity();
  }

  #list(slab: number): void {
    const group = this.#groups[slab]!;
    const isPartial = this.#slabs.refCount(slab) > 0 && this.#numFreeBlocks(slab) > 0;
    const own = this.#partialOf.get(this.#openedFor[slab]!)?.[group];
    if (isPartial) own?.add(slab);
    else own?.delete(slab);
    if (this.#partial.has(slab) === isPartial) return;
    if (isPartial) this.#partial.putLast(group, slab);
    else this.#partial.remove(slab);
  }

  /** Adds the free and idle blocks of a slab in use to its group's, or takes them off. */
  #count(slab: number, sign: 1 | -1): void {
    if (this.#slabs.refCount(slab) === 0) return;
    const group = this.#groups[slab]!;
    this.#numFreeInUsed[group]! += sign * this.#numFreeBlocks(slab);
    this.#numIdleInUsed[group]! += sign * this.#numIdleIn[slab]!;
  }

  #numFreeBlocks(slab: number): number {
    return this.#perSlab[this.#groups[slab]!]! - this.#slabs.refCount(slab) -
      this.#numIdleIn[slab]!;
  }
}
