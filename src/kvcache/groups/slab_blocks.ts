import { invariant, InvariantError } from "../../base/invariant.ts";
import type { BlockId, SequenceId } from "../../core/ids.ts";
import { FreeStacks } from "../pool/free_stacks.ts";
import { IndexLists } from "./index_lists.ts";
import { SlabStates } from "./slab_states.ts";

/**
 * The lower level of the pool: the state of every block that the slabs are cut into.
 *
 *     free     count 0, unmarked
 *     used     count > 0; marked or not
 *     cached   count 0, marked: in the order of last use, until it is retained or unmarked
 *
 * A block is marked while its content may be hit. Block `id` of a group is block `id mod n` of slab
 * `floor(id / n)`, where a slab is `n` of the group's blocks.
 *
 * Columns instead of objects: about 13 bytes per block where a slab is one block, 27 where it is
 * cut. Every move is O(1), opening a slab O(its blocks).
 */
export class SlabBlocks {
  readonly slabs: SlabStates;
  /**
   * Most blocks of a slab, whichever group has it: block `i` of slab `s` is slot `s * room + i`.
   */
  readonly #room: number;
  readonly #refCounts: Uint32Array;
  readonly #isMarked: Uint8Array;
  readonly #lastUsed: Float64Array;
  readonly #free: FreeStacks;
  /** Cached slots of each group; empty where a slab is one block, whose own list says the same. */
  readonly #cached: IndexLists;
  #clock = 0;

  constructor(numSlabs: number, blocksPerSlab: readonly number[]) {
    this.slabs = new SlabStates(numSlabs, blocksPerSlab);
    this.#room = Math.max(...blocksPerSlab);
    const numSlots = numSlabs * this.#room;
    this.#refCounts = new Uint32Array(numSlots);
    this.#isMarked = new Uint8Array(numSlots);
    this.#lastUsed = new Float64Array(numSlots);
    this.#free = new FreeStacks(numSlabs, this.#room);
    this.#cached = new IndexLists(this.#room > 1 ? numSlots : 0, blocksPerSlab.length);
  }

  /**
   * Starts the next moment of the one logical clock; what is released until then shares this one.
   */
  tick(): void {
    this.#clock++;
  }

  /** The slab that a block of `group` lies in. */
  slabOf(group: number, id: BlockId): number {
    return Math.floor(id / this.slabs.blocksPerSlab[group]!);
  }

  /** The blocks that `slab` is cut into; none when it is free. */
  blocksOf(slab: number): BlockId[] {
    const group = this.slabs.groupOf(slab);
    const count = group === undefined ? 0 : this.slabs.blocksPerSlab[group]!;
    return Array.from({ length: count }, (_, i) => slab * count + i);
  }

  /** References held on a block. */
  refCount(group: number, id: BlockId): number {
    return this.#refCounts[this.#slot(group, id)]!;
  }

  /** Whether a block's content may be hit. */
  isMarked(group: number, id: BlockId): boolean {
    return this.#isMarked[this.#slot(group, id)] === 1;
  }

  /** The moment of the last release of a block that is cached. */
  lastUsed(group: number, id: BlockId): number {
    return this.#lastUsed[this.#slot(group, id)]!;
  }

  /** The cached block of `group` that was used longest ago, where slabs are several blocks. */
  oldestCached(group: number): BlockId | undefined {
    const slot = this.#cached.first(group);
    return slot === undefined ? undefined : this.#id(group, slot);
  }

  /** The cached blocks of a `group`, in the order of last use; none where a slab is one block. */
  *cached(group: number): Generator<BlockId> {
    for (const slot of this.#cached.items(group)) yield this.#id(group, slot);
  }

  /** Opens the slab that was freed last for `group` and `owner`; one must be free. */
  open(group: number, owner: SequenceId): number {
    const slab = this.slabs.open(group, owner);
    this.#free.fill(slab, this.slabs.blocksPerSlab[group]!);
    return slab;
  }

  /** Takes a free block of `slab`, which `group` has, with one reference; there must be one. */
  take(group: number, slab: number): BlockId {
    const slot = this.#free.pop(slab);
    this.#refCounts[slot] = 1;
    this.slabs.change(slab, 1, 0);
    return this.#id(group, slot);
  }

  /** Adds a reference to a block that is used or cached. */
  retain(group: number, id: BlockId): void {
    const slot = this.#slot(group, id);
    if (this.#refCounts[slot] === 0) {
      if (this.#isMarked[slot] === 0) {
        throw new InvariantError(`retain of free block ${id} of group ${group}`);
      }
      if (this.#room > 1) this.#cached.remove(slot);
      this.slabs.change(this.slabOf(group, id), 1, -1);
    }
    this.#refCounts[slot]!++;
  }

  /** Drops a reference; with the last one a marked block is cached and any other free. */
  release(group: number, id: BlockId): void {
    const slot = this.#slot(group, id);
    if (this.#refCounts[slot] === 0) {
      throw new InvariantError(`double release of block ${id} of group ${group}`);
    }
    if (--this.#refCounts[slot]! > 0) return;
    const slab = this.slabOf(group, id);
    this.#lastUsed[slot] = this.#clock;
    if (this.#isMarked[slot] === 1) {
      if (this.#room > 1) this.#cached.putLast(group, slot);
      this.slabs.change(slab, -1, 1);
    } else {
      this.#free.push(slab, slot);
      this.slabs.change(slab, -1, 0);
    }
  }

  /** Lets the content of a used block be hit. */
  mark(group: number, id: BlockId): void {
    const slot = this.#slot(group, id);
    if (this.#refCounts[slot] === 0) {
      throw new InvariantError(`mark of unused block ${id} of group ${group}`);
    }
    this.#isMarked[slot] = 1;
  }

  /** Forgets the content of a marked block; one that is cached is free with that. */
  unmark(group: number, id: BlockId): void {
    const slot = this.#slot(group, id);
    if (this.#isMarked[slot] === 0) {
      throw new InvariantError(`unmark of unmarked block ${id} of group ${group}`);
    }
    this.#isMarked[slot] = 0;
    if (this.#refCounts[slot]! > 0) return;
    const slab = this.slabOf(group, id);
    if (this.#room > 1) this.#cached.remove(slot);
    this.#free.push(slab, slot);
    this.slabs.change(slab, 0, -1);
  }

  /** Audit of both levels: counts, lists, free stacks and the order of last use agree. O(pool). */
  checkIntegrity(): void {
    this.#cached.checkIntegrity();
    this.slabs.checkIntegrity((slab) => this.#checkSlab(slab));
    const slabAges = [...this.slabs.evictable()].map((slab) => {
      const group = this.slabs.groupOf(slab)!;
      return Math.max(...this.blocksOf(slab).map((id) => this.lastUsed(group, id)));
    });
    checkAscending("evictable slabs", slabAges);
    this.slabs.blocksPerSlab.forEach((_, group) => {
      const ages = [...this.cached(group)].map((id) => this.lastUsed(group, id));
      checkAscending(`cached blocks of group ${group}`, ages);
    });
  }

  #checkSlab(slab: number): { numUsed: number; numCached: number } {
    const group = this.slabs.groupOf(slab);
    const slots = this.blocksOf(slab).map((id) => this.#slot(group!, id));
    const used = slots.filter((slot) => this.#refCounts[slot]! > 0);
    const free = slots.filter((slot) => this.#refCounts[slot] === 0 && this.#isMarked[slot] === 0);
    const cached = slots.filter((slot) => !used.includes(slot) && !free.includes(slot));
    if (this.#room > 1 && group !== undefined) {
      const stack = this.#free.slots(slab);
      invariant(
        stack.length === free.length && free.every((slot) => stack.includes(slot)),
        `slab ${slab} has free blocks ${free}, on its stack ${stack}`,
      );
      invariant(
        slots.every((slot) => (this.#cached.listOf(slot) === group) === cached.includes(slot)),
        `slab ${slab} has cached blocks ${cached} and lists others`,
      );
    }
    return { numUsed: used.length, numCached: cached.length };
  }

  /** The slot of a block, whose slab must be its group's. */
  #slot(group: number, id: BlockId): number {
    const count = this.slabs.blocksPerSlab[group]!;
    const slab = Math.floor(id / count);
    if (!Number.isInteger(id) || this.slabs.groupOf(slab) !== group) {
      throw new InvariantError(`block ${id} does not lie in a slab of group ${group}`);
    }
    return slab * this.#room + id % count;
  }

  #id(group: number, slot: number): BlockId {
    const slab = Math.floor(slot / this.#room);
    return slab * this.slabs.blocksPerSlab[group]! + slot % this.#room;
  }
}

function checkAscending(what: string, ages: readonly number[]): void {
  const isAscending = ages.every((age, i) => i === 0 || ages[i - 1]! <= age);
  invariant(isAscending, `${what} are not in the order of last use: ${ages}`);
}
