import { assert, assertEquals } from "@std/assert";
import type { BlockId, SequenceId } from "../../src/core/ids.ts";
import type { SlabLayout } from "../../src/core/slab_layout.ts";
import type { Demand, SlabPool } from "../../src/kvcache/groups/slab_pool.ts";

interface ModelBlock {
  refs: number;
  isMarked: boolean;
  /** Counts releases; 0 before the first. */
  released: number;
}

interface ModelSlab {
  readonly group: number;
  readonly owner: SequenceId;
  readonly blocks: ModelBlock[];
}

/** A block with its name. */
export interface Named {
  readonly group: number;
  readonly id: BlockId;
}

const isUsed = (block: ModelBlock) => block.refs > 0;
const isCached = (block: ModelBlock) => block.refs === 0 && block.isMarked;
const isFree = (block: ModelBlock) => block.refs === 0 && !block.isMarked;

/** What a slab pool is, said slowly: everything is looked for, nothing is counted or linked. */
export class SlabModel {
  readonly slabs: (ModelSlab | undefined)[];
  readonly #forgotten = new Set<SequenceId>();
  #numReleases = 0;

  constructor(readonly layout: SlabLayout, numSlabs: number) {
    this.slabs = Array.from({ length: numSlabs }, () => undefined);
  }

  blocks(keep: (block: ModelBlock) => boolean): Named[] {
    return this.slabs.flatMap((slab, s) =>
      (slab?.blocks ?? []).flatMap((block, i) =>
        keep(block) ? [{ group: slab!.group, id: s * slab!.blocks.length + i }] : []
      )
    );
  }

  used = () => this.blocks(isUsed);
  marked = () => this.blocks((block) => block.isMarked);
  cached = () => this.blocks(isCached);

  at({ group, id }: Named): ModelBlock {
    const count = this.layout.cuts[group]!.blocksPerSlab;
    return this.slabs[Math.floor(id / count)]!.blocks[id % count]!;
  }

  /** Whether some way to hand out whole slabs covers the demand beside what lies in used slabs. */
  isFeasible(demand: Demand): boolean {
    const hits = new Set(
      demand.hits?.flatMap((ids, group) => ids.map((id) => this.at({ group, id }))),
    );
    const isPinned = (slab: ModelSlab) =>
      slab.blocks.some((block) => isUsed(block) || hits.has(block));
    const numSlabs = this.slabs.filter((slab) => slab === undefined || !isPinned(slab)).length;
    const missing = demand.counts.map((count, group) => {
      const own = this.slabs.filter((slab) => slab?.group === group && isPinned(slab));
      const rest = own.flatMap((slab) => slab!.blocks.filter((b) => !isUsed(b) && !hits.has(b)));
      return count - rest.length;
    });
    const cover = (group: number, left: number): boolean => {
      if (group === missing.length) return true;
      for (let n = 0; n <= left; n++) {
        const isEnough = n * this.layout.cuts[group]!.blocksPerSlab >= missing[group]!;
        if (isEnough && cover(group + 1, left - n)) return true;
      }
      return false;
    };
    return cover(0, numSlabs);
  }

  retain(named: Named): void {
    this.at(named).refs++;
  }

  release(named: Named): void {
    const block = this.at(named);
    if (--block.refs === 0) block.released = ++this.#numReleases;
    this.#dropEmpty();
  }

  mark(named: Named): void {
    this.at(named).isMarked = true;
  }

  unmark(named: Named): void {
    this.at(named).isMarked = false;
    this.#dropEmpty();
  }

  forget(owner: SequenceId): void {
    this.#forgotten.add(owner);
  }

  /** Follows one block that the pool took by itself, and asserts that the order asked for it. */
  take(owner: SequenceId, { group, id }: Named, evicted: Named[]): void {
    const count = this.layout.cuts[group]!.blocksPerSlab;
    const own = this.#partials(group).filter((slab) => slab.owner === owner);
    const isOwn = own.length > 0 && !this.#forgotten.has(owner);
    if (isOwn) assert(own.includes(this.slabs[Math.floor(id / count)]!), "1. not in an own slab");
    else if (this.slabs.includes(undefined)) this.#open(owner, group, id, "2. not in a free slab");
    else if (this.#evictable().length > 0) {
      const oldest = this.#evictable()[0]!;
      const expected = this.blocks(isCached).filter((b) => this.#slabOf(b) === oldest);
      assertEquals(evicted.splice(0, expected.length), expected, "3. not the oldest slab's blocks");
      this.slabs[this.slabs.indexOf(oldest)] = undefined;
      this.#open(owner, group, id, "3. not in the evicted slab");
    } else if (this.#partials(group).length === 0) {
      const oldest = this.cached().filter((b) => b.group === group)
        .sort((a, b) => this.at(a).released - this.at(b).released)[0]!;
      assertEquals(evicted.splice(0, 1), [oldest], "5. not the oldest cached block");
      this.at(oldest).isMarked = false;
    }
    const block = this.at({ group, id });
    assert(isFree(block), `4. block ${id} of group ${group} was not free`);
    block.refs = 1;
  }

  /** Follows blocks taken for several groups at once, in whatever order they were taken. */
  takeAll(owner: SequenceId, taken: readonly Named[], evicted: readonly Named[]): void {
    for (const named of evicted) {
      assert(isCached(this.at(named)), "evicted a block that is not cached");
      this.at(named).isMarked = false;
    }
    this.#dropEmpty();
    for (const { group, id } of taken) {
      const slab = Math.floor(id / this.layout.cuts[group]!.blocksPerSlab);
      if (this.slabs[slab] === undefined) this.#open(owner, group, id, "");
      assert(isFree(this.at({ group, id })), `block ${id} of group ${group} was not free`);
      this.at({ group, id }).refs = 1;
    }
  }

  /** Asserts that the pool says the same of every block, and that its bytes add up to ours. */
  assertAgrees(pool: SlabPool): void {
    pool.checkIntegrity();
    const usage = { free: 0, cached: 0, used: 0 };
    this.slabs.forEach((slab, s) => {
      if (slab === undefined) usage.free += this.layout.slabBytes;
      slab?.blocks.forEach((block, i) => {
        const { blockBytes, strideBytes } = this.layout.cuts[slab.group]!;
        const id = s * slab.blocks.length + i;
        assertEquals(pool.refCount(slab.group, id), block.refs);
        assertEquals(pool.isMarked(slab.group, id), block.isMarked);
        if (isFree(block)) usage.free += strideBytes;
        else usage[isUsed(block) ? "used" : "cached"] += blockBytes;
      });
    });
    const { freeBytes, cachedBytes, usedBytes } = pool.usage();
    assertEquals({ free: freeBytes, cached: cachedBytes, used: usedBytes }, usage);
  }

  #open(owner: SequenceId, group: number, id: BlockId, message: string): void {
    const { blocksPerSlab } = this.layout.cuts[group]!;
    const slab = Math.floor(id / blocksPerSlab);
    assertEquals(this.slabs[slab], undefined, message);
    const blocks = Array.from({ length: blocksPerSlab }, () => ({
      refs: 0,
      isMarked: false,
      released: 0,
    }));
    this.slabs[slab] = { group, owner, blocks };
  }

  #slabOf({ group, id }: Named): ModelSlab {
    return this.slabs[Math.floor(id / this.layout.cuts[group]!.blocksPerSlab)]!;
  }

  #partials(group: number): ModelSlab[] {
    return this.slabs.filter((slab) => slab !== undefined)
      .filter((slab) =>
        slab.group === group && slab.blocks.some(isUsed) && slab.blocks.some(isFree)
      );
  }

  #evictable(): ModelSlab[] {
    const age = (slab: ModelSlab) => Math.max(...slab.blocks.map((block) => block.released));
    return this.slabs.filter((slab) => slab !== undefined)
      .filter((slab) => !slab.blocks.some(isUsed) && slab.blocks.some(isCached))
      .sort((a, b) => age(a) - age(b));
  }

  #dropEmpty(): void {
    this.slabs.forEach((slab, s) => {
      if (slab?.blocks.every(isFree)) this.slabs[s] = undefined;
    });
  }
}
