import { invariant } from "../base/invariant.ts";
import type { CacheRetention } from "../core/generation.ts";
import type { BlockId } from "../core/ids.ts";
import { BlockHeap } from "./block_heap.ts";
import type { BlockRenaming } from "./block_renaming.ts";
import type { EvictionPolicy } from "./eviction_policy.ts";

/** Priority of blocks that nobody has asked to keep. */
export const DEFAULT_PRIORITY = 35;

/**
 * Evicts the idle leaf of least priority, and among equals the one idle longest.
 *
 * A priority may hold for a while only; then it reverts to the default, whether that is lower or
 * higher. Time decides when, the order of events decides ties. A parent waits until its children
 * are gone, whatever its own priority: their KV is of no use without it.
 *
 * Operations cost O(log blocks). Memory: 33 bytes per block.
 */
export class PriorityPolicy implements EvictionPolicy {
  readonly #now: () => number;
  #priorities: Uint8Array;
  /** When the priority reverts, in the milliseconds of `now`; Infinity for never. */
  #expiries: Float64Array;
  /** When each block became idle, in events. */
  #stamps: Float64Array;
  /** Idle leaves, the next victim first. */
  readonly #victims: BlockHeap;
  /** Those of them whose priority reverts, the earliest first. */
  readonly #expiring: BlockHeap;
  #numEvents = 0;

  constructor(numBlocks: number, now: () => number) {
    this.#now = now;
    this.#priorities = new Uint8Array(numBlocks).fill(DEFAULT_PRIORITY);
    this.#expiries = new Float64Array(numBlocks).fill(Infinity);
    this.#stamps = new Float64Array(numBlocks);
    this.#victims = new BlockHeap(numBlocks, (a, b) => {
      const difference = this.#priorities[a]! - this.#priorities[b]!;
      return difference === 0 ? this.#stamps[a]! < this.#stamps[b]! : difference < 0;
    });
    this.#expiring = new BlockHeap(numBlocks, (a, b) => {
      const difference = this.#expiries[a]! - this.#expiries[b]!;
      return difference === 0 ? this.#stamps[a]! < this.#stamps[b]! : difference < 0;
    });
  }

  start(id: BlockId): void {
    this.#revert(id);
  }

  hit(): void {}

  setRetention(id: BlockId, { priority, durationMs }: CacheRetention): void {
    this.#priorities[id] = priority;
    this.#expiries[id] = durationMs === undefined ? Infinity : this.#now() + durationMs;
  }

  add(id: BlockId, isLeaf: boolean): void {
    this.#stamps[id] = this.#numEvents++;
    if (isLeaf) this.becomeLeaf(id);
  }

  becomeLeaf(id: BlockId): void {
    this.#victims.push(id);
    if (this.#expiries[id] !== Infinity) this.#expiring.push(id);
  }

  remove(id: BlockId): void {
    if (this.#victims.has(id)) this.#victims.remove(id);
    if (this.#expiring.has(id)) this.#expiring.remove(id);
  }

  next(): BlockId {
    const now = this.#now();
    let due = this.#expiring.first;
    while (due !== undefined && this.#expiries[due]! <= now) {
      this.remove(due);
      this.#revert(due);
      this.#victims.push(due);
      due = this.#expiring.first;
    }
    const victim = this.#victims.first;
    invariant(victim !== undefined, "nothing to evict");
    return victim;
  }

  resize(renaming: BlockRenaming): void {
    this.#priorities = renaming.column(this.#priorities, { fill: DEFAULT_PRIORITY });
    this.#expiries = renaming.column(this.#expiries, { fill: Infinity });
    this.#stamps = renaming.column(this.#stamps);
    this.#victims.rename(renaming);
    this.#expiring.rename(renaming);
  }

  checkIntegrity(numIdle: number): void {
    this.#victims.checkIntegrity();
    this.#expiring.checkIntegrity();
    const numVictims = this.#victims.length;
    invariant(
      numVictims <= numIdle && (numVictims > 0) === (numIdle > 0),
      `${numVictims} idle leaves among ${numIdle} idle blocks`,
    );
  }

  #revert(id: BlockId): void {
    this.#priorities[id] = DEFAULT_PRIORITY;
    this.#expiries[id] = Infinity;
  }
}
