import { invariant, InvariantError } from "../../base/invariant.ts";
import type { BlockLoad, BlockSwap } from "../../core/batch.ts";
import type { EngineCounts } from "../../core/engine_stats.ts";
import type { BlockId, SequenceId } from "../../core/ids.ts";
import { bytesOfBlocks, type SwapSpace } from "../../core/swap_space.ts";
import { createPool } from "../pool/create_pool.ts";
import type { Demand, Pool } from "../pool/pool.ts";

/** A block of a table, by the device's ids. */
export interface TableEntry {
  /** Its index in the table. */
  readonly index: number;
  readonly block: BlockId;
}

/** What of a sequence is copied to host memory. */
export interface SwapContents {
  /** Leading positions that are computed. */
  readonly numTokens: number;
  /** Leading blocks that are not copied, since others hold them and they are findable. */
  readonly numSkipped: number;
  /** Per group, the entries of its table that are. */
  readonly entries: readonly (readonly TableEntry[])[];
}

/** Those of the engine's counters that are counted here. */
type SwapCounts = Pick<
  EngineCounts,
  | "numSwappedOutBlocks"
  | "numSwappedInBlocks"
  | "swappedOutBytes"
  | "swappedInBytes"
  | "numSwapsEvicted"
>;

/** One block in host memory. */
interface HostBlock extends Pick<TableEntry, "index"> {
  readonly group: number;
  /** Its id in the host's pool, unique among all groups. */
  readonly poolId: BlockId;
}

/** A sequence's blocks in host memory. */
export interface SwappedSequence {
  readonly numTokens: number;
  readonly numSkipped: number;
  readonly blocks: readonly HostBlock[];
}

/**
 * The first tier below the device: which block of host memory holds which block of which preempted
 * sequence. The memory itself is the runner's.
 *
 *     preempt  -> store -> drain().outs: the next step copies them before it writes anything
 *     readmit  -> load  -> drain().ins: the next step copies them back before it reads anything
 *     end, reset, no use for it -> drop, at once
 *
 * Its pool is one like the device's, cut for the same groups, and each block in it has one
 * reference: that of the sequence, or of the step that loads it. O(blocks moved).
 */
export class SwapStore {
  readonly #space: SwapSpace;
  readonly #pool: Pool;
  readonly #sequences = new Map<SequenceId, SwappedSequence>();
  /** Copies that no plan has yet, each of a block that `sequenceId` had. */
  #outs: BlockLoad[] = [];
  #ins: BlockLoad[] = [];
  /** Blocks of the host's pool that the planned step reads, and the sequences it reads them for. */
  #loading: BlockId[] = [];
  readonly #loadingIds = new Set<SequenceId>();
  readonly #counts = {
    numSwappedOutBlocks: 0,
    numSwappedInBlocks: 0,
    swappedOutBytes: 0,
    swappedInBytes: 0,
    numSwapsEvicted: 0,
  };

  /** @param blocksPerSlab of each group. */
  constructor(space: SwapSpace, blocksPerSlab: Demand) {
    this.#space = space;
    this.#pool = createPool(space.numSlabs, blocksPerSlab);
  }

  get numSlabs(): number {
    return this.#pool.numSlabs;
  }

  /** Slabs in use. */
  get numUsed(): number {
    return this.numSlabs - this.#pool.numFree;
  }

  /** Sequences that have blocks here. */
  get numSequences(): number {
    return this.#sequences.size;
  }

  get ids(): Iterable<SequenceId> {
    return this.#sequences.keys();
  }

  /** What has been counted so far; the same object each time. */
  get counts(): SwapCounts {
    return this.#counts;
  }

  /** Bytes of so many blocks of each group. */
  bytesOf(demand: Demand): number {
    return bytesOfBlocks(this.#space, demand);
  }

  /** Whether there is room for so many more blocks. */
  fits(demand: Demand): boolean {
    return this.#pool.countMissing({ demand }) <= 0;
  }

  find(id: SequenceId): SwappedSequence | undefined {
    return this.#sequences.get(id);
  }

  /** Has blocks of sequence `id`, for which there is room, copied by the next plan. */
  store(id: SequenceId, { numTokens, numSkipped, entries }: SwapContents): void {
    invariant(!this.#sequences.has(id), `sequence ${id} is in host memory already`);
    const demand = entries.map(({ length }) => length);
    const taken = this.#pool.take(demand, id);
    const blocks = entries.flatMap((ofGroup, group) =>
      ofGroup.map(({ index, block }, i) => {
        const poolId = taken[group]![i]!;
        this.#outs.push({
          sequenceId: id,
          group,
          block,
          hostBlock: this.#pool.idInGroup(poolId, group),
        });
        return { index, group, poolId };
      })
    );
    this.#sequences.set(id, { numTokens, numSkipped, blocks });
    this.#counts.numSwappedOutBlocks += blocks.length;
    this.#counts.swappedOutBytes += this.bytesOf(demand);
  }

  /**
   * Has the blocks of sequence `id` copied back by the next plan, and forgets them: each goes where
   * `target` says by group and index, or is not needed. Returns how many do, and their bytes.
   */
  load(
    id: SequenceId,
    target: (group: number, index: number) => BlockId | undefined,
  ): { readonly numBlocks: number; readonly bytes: number } {
    const { blocks } = this.#sequences.get(id)!;
    const counts = this.#space.blockBytes.map(() => 0);
    for (const { group, index, poolId } of blocks) {
      const block = target(group, index);
      if (block === undefined) continue;
      const hostBlock = this.#pool.idInGroup(poolId, group);
      this.#ins.push({ sequenceId: id, group, block, hostBlock });
      counts[group]!++;
    }
    // They stay taken until the step that reads them is done.
    this.#loading.push(...blocks.map(({ poolId }) => poolId));
    this.#loadingIds.add(id);
    this.#sequences.delete(id);
    this.#pool.forgetSequence(id);
    const numBlocks = counts.reduce((sum, count) => sum + count, 0);
    const bytes = this.bytesOf(counts);
    this.#counts.numSwappedInBlocks += numBlocks;
    this.#counts.swappedInBytes += bytes;
    return { numBlocks, bytes };
  }

  /** Whether blocks of sequence `id` are on their way back: nobody else may read them yet. */
  isLoading(id: SequenceId): boolean {
    return this.#loadingIds.has(id);
  }

  /** Forgets what there is of sequence `id`, since shared blocks it lacks have been evicted. */
  dropEvicted(id: SequenceId): void {
    this.#counts.numSwapsEvicted++;
    this.drop(id);
  }

  /** Forgets what there is of sequence `id`. */
  drop(id: SequenceId): void {
    const swapped = this.#sequences.get(id);
    if (swapped === undefined) return;
    this.#pool.release(swapped.blocks.map(({ poolId }) => poolId));
    this.#pool.forgetSequence(id);
    this.#sequences.delete(id);
    this.#outs = this.#outs.filter(({ sequenceId }) => sequenceId !== id);
  }

  /** Forgets the sequences whose copies no plan has taken: their blocks may be written any time. */
  dropUnplanned(): void {
    for (const { sequenceId } of this.#outs) this.drop(sequenceId);
  }

  /** Forgets all sequences. */
  clear(): void {
    for (const id of [...this.#sequences.keys()]) this.drop(id);
  }

  /** Hands the copies out to the next step. */
  drain(): { readonly outs: readonly BlockSwap[]; readonly ins: readonly BlockLoad[] } {
    const outs = this.#outs.map(({ group, block, hostBlock }) => ({ group, block, hostBlock }));
    const ins = this.#ins;
    this.#outs = [];
    this.#ins = [];
    return { outs, ins };
  }

  /** The step has been carried out: what it has read is free. */
  release(): void {
    this.#pool.release(this.#loading);
    this.#loading = [];
    this.#loadingIds.clear();
  }

  /** Audit: a block in use is one sequence's or of the step in flight, once. O(host's pool). */
  checkIntegrity(): void {
    this.#pool.checkIntegrity();
    const numHolders = new Array<number>(this.#pool.numBlocks).fill(0);
    for (const { blocks } of this.#sequences.values()) {
      for (const { poolId } of blocks) numHolders[poolId]!++;
    }
    for (const poolId of this.#loading) numHolders[poolId]!++;
    for (let poolId = 0; poolId < numHolders.length; poolId++) {
      const count = numHolders[poolId]!;
      if (count > 1 || count !== this.#pool.refCount(poolId)) {
        throw new InvariantError(`host block ${poolId} has ${count} holders, counted otherwise`);
      }
    }
  }
}
