import { invariant } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import { BlockTournament } from "./block_tournament.ts";
import type { EvictionPolicy } from "./eviction_policy.ts";
import { ReuseHistory } from "./reuse_history.ts";

/** Kinds of blocks: by how often they were found, the last kind at least so often. */
const NUM_KINDS = 4;
/** What is known of a kind is halved whenever so many times the pool has come and gone. */
const POOLS_REMEMBERED = 4;

/**
 * Evicts the block that is least likely to be found again soon, by what became of blocks of its
 * kind after as long a time: workload-aware eviction (Wang et al. 2025, arXiv:2506.02634), which
 * knows kinds of requests and turns of conversations; here a block's kind is how often it was
 * found, which is the turn of its conversation.
 *
 * Of each kind the leaf idle longest is compared. Operations cost O(log blocks). Memory: 34 bytes
 * per block.
 */
export class ReusePolicy implements EvictionPolicy {
  readonly #now: () => number;
  readonly #histories: readonly ReuseHistory[];
  /** Idle leaves by kind, the one idle longest first. */
  readonly #victims: readonly BlockTournament[];
  #kinds: Uint8Array;
  /**
   * Milliseconds: since when an idle block has been so; of one in use how long it waited, or NaN
   * once it has been found.
   */
  #waits: Float64Array;
  /** When each block became idle, in events. */
  #stamps: Float64Array;
  #numEvents = 0;

  constructor(numBlocks: number, now: () => number) {
    this.#now = now;
    const halfLife = POOLS_REMEMBERED * numBlocks;
    this.#histories = Array.from({ length: NUM_KINDS }, () => new ReuseHistory(halfLife));
    this.#kinds = new Uint8Array(numBlocks);
    this.#waits = new Float64Array(numBlocks).fill(NaN);
    this.#stamps = new Float64Array(numBlocks);
    this.#victims = Array.from(
      { length: NUM_KINDS },
      () => new BlockTournament(numBlocks, (a, b) => this.#stamps[a]! < this.#stamps[b]!),
    );
  }

  becomeCached(id: BlockId): void {
    this.#kinds[id] = 0;
    this.#waits[id] = NaN;
  }

  replace(before: BlockId, id: BlockId): void {
    this.#kinds[id] = this.#kinds[before]!;
    this.#waits[id] = this.#waits[before]!;
  }

  hit(id: BlockId): void {
    const kind = this.#kinds[id]!;
    const waitedMs = this.#waits[id]!;
    // Found while others use it, it has not waited; of one that is pinned, the time before counts.
    if (!Number.isNaN(waitedMs)) this.#histories[kind]!.noteFound(waitedMs);
    this.#waits[id] = NaN;
    this.#kinds[id] = Math.min(kind + 1, NUM_KINDS - 1);
  }

  setRetention(): void {}

  becomeIdle(id: BlockId, isLeaf: boolean): void {
    this.#stamps[id] = this.#numEvents++;
    this.#waits[id] = this.#now();
    if (isLeaf) this.becomeLeaf(id);
  }

  becomeLeaf(id: BlockId): void {
    this.#victims[this.#kinds[id]!]!.push(id);
  }

  remove(id: BlockId): void {
    const kind = this.#kinds[id]!;
    this.#waits[id] = this.#ageOf(id);
    this.#histories[kind]!.noteEnd(this.#waits[id]!);
    const victims = this.#victims[kind]!;
    if (victims.has(id)) victims.remove(id);
  }

  next(): BlockId {
    let [least, leastRate] = [undefined as BlockId | undefined, Infinity];
    for (let kind = 0; kind < NUM_KINDS; kind++) {
      const id = this.#victims[kind]!.first;
      if (id === undefined) continue;
      const rate = this.#histories[kind]!.rate(this.#ageOf(id));
      if (rate < leastRate) [least, leastRate] = [id, rate];
    }
    invariant(least !== undefined, "nothing to evict");
    return least;
  }

  resize(remap: BlockRemap): void {
    for (const history of this.#histories) {
      history.halfLife = POOLS_REMEMBERED * remap.numBlocks;
    }
    this.#kinds = remap.column(this.#kinds);
    this.#waits = remap.column(this.#waits, { fill: NaN });
    this.#stamps = remap.column(this.#stamps);
    for (const victims of this.#victims) victims.remap(remap);
  }

  checkIntegrity(numIdle: number): void {
    for (const victims of this.#victims) victims.checkIntegrity();
    const numVictims = this.#victims.reduce((sum, { length }) => sum + length, 0);
    invariant(
      numVictims <= numIdle && (numVictims > 0) === (numIdle > 0),
      `${numVictims} idle leaves among ${numIdle} idle blocks`,
    );
  }

  /** How long an idle block has been so. */
  #ageOf(id: BlockId): number {
    return this.#now() - this.#waits[id]!;
  }
}
