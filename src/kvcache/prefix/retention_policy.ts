import { invariant } from "../../base/invariant.ts";
import type { CacheRetention } from "../../core/generation.ts";
import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import { BlockTournament } from "./block_tournament.ts";
import type { EvictionPolicy } from "./eviction_policy.ts";

/** Priority of blocks without a retention request. */
const DEFAULT_PRIORITY = 35;

/** The time of a priority that does not revert. */
const NEVER = 2 ** 32 - 1;

/** When counters of 32 bits start anew; less in tests. */
const LIMITS = { maxStamp: 2 ** 32 - 1, maxElapsedMs: 2 ** 31 };

/**
 * Evicts the idle leaf of least priority, and among equals the one idle longest.
 *
 * A priority may hold for a while only; then it reverts to the default, whether that is lower or
 * higher. Time decides when, in whole milliseconds and never early; the order of events decides
 * ties. A parent waits until its children are gone, whatever its own priority: without its KV
 * theirs cannot be found.
 *
 * Operations cost O(log blocks), and O(pool) once in 2^32 events or 24 days. Memory: 17.25 bytes
 * per block.
 */
export class RetentionPolicy implements EvictionPolicy {
  readonly #now: () => number;
  readonly #limits: typeof LIMITS;
  #priorities: Uint8Array;
  /** When the priority reverts, in milliseconds since the epoch; or NEVER. */
  #expiries: Uint32Array;
  /** The `now` from which expiries count. */
  #epoch: number;
  /** When each block became idle, in events. */
  #stamps: Uint32Array;
  /** Idle leaves, the next victim first. */
  readonly #victims: BlockTournament;
  /** Those of them whose priority reverts, the earliest first. */
  readonly #expiring: BlockTournament;
  #numEvents = 0;

  constructor(numBlocks: number, now: () => number, limits: typeof LIMITS = LIMITS) {
    this.#now = now;
    this.#limits = limits;
    this.#epoch = now();
    this.#priorities = new Uint8Array(numBlocks).fill(DEFAULT_PRIORITY);
    this.#expiries = new Uint32Array(numBlocks).fill(NEVER);
    this.#stamps = new Uint32Array(numBlocks);
    this.#victims = new BlockTournament(numBlocks, (a, b) => {
      const difference = this.#priorities[a]! - this.#priorities[b]!;
      return difference === 0 ? this.#stamps[a]! < this.#stamps[b]! : difference < 0;
    });
    this.#expiring = new BlockTournament(numBlocks, (a, b) => {
      const difference = this.#expiries[a]! - this.#expiries[b]!;
      return difference === 0 ? this.#stamps[a]! < this.#stamps[b]! : difference < 0;
    });
  }

  becomeCached(id: BlockId): void {
    this.#revert(id);
  }

  replace(before: BlockId, id: BlockId): void {
    this.#priorities[id] = this.#priorities[before]!;
    this.#expiries[id] = this.#expiries[before]!;
  }

  hit(): void {}

  setRetention(id: BlockId, { priority, durationMs }: CacheRetention): void {
    this.#priorities[id] = priority;
    this.#expiries[id] = durationMs === undefined ? NEVER : this.#expiryAfter(durationMs);
  }

  becomeIdle(id: BlockId, isLeaf: boolean): void {
    if (this.#numEvents > this.#limits.maxStamp) this.#renumber();
    this.#stamps[id] = this.#numEvents++;
    if (isLeaf) this.becomeLeaf(id);
  }

  becomeLeaf(id: BlockId): void {
    this.#victims.push(id);
    if (this.#expiries[id] !== NEVER) this.#expiring.push(id);
  }

  remove(id: BlockId): void {
    if (this.#victims.has(id)) this.#victims.remove(id);
    if (this.#expiring.has(id)) this.#expiring.remove(id);
  }

  next(): BlockId {
    const now = this.#now() - this.#epoch;
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

  resize(remap: BlockRemap): void {
    this.#priorities = remap.column(this.#priorities, { fill: DEFAULT_PRIORITY });
    this.#expiries = remap.column(this.#expiries, { fill: NEVER });
    this.#stamps = remap.column(this.#stamps);
    this.#victims.remap(remap);
    this.#expiring.remap(remap);
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
    this.#expiries[id] = NEVER;
  }

  /** The first whole millisecond of the epoch that is `durationMs` from now or later. */
  #expiryAfter(durationMs: number): number {
    const now = this.#now();
    if (now - this.#epoch > this.#limits.maxElapsedMs) this.#startEpoch(now);
    return Math.min(Math.ceil(now - this.#epoch + durationMs), NEVER - 1);
  }

  /** Counts expiries from `now` on; what is due by then stays due. */
  #startEpoch(now: number): void {
    const elapsedMs = Math.floor(now - this.#epoch);
    this.#epoch += elapsedMs;
    this.#expiries.forEach((expiry, id) => {
      if (expiry !== NEVER) this.#expiries[id] = Math.max(0, expiry - elapsedMs);
    });
    this.#expiring.replay();
  }

  /** Makes the stamps small again, in the same order. */
  #renumber(): void {
    const ids = Uint32Array.from(this.#stamps.keys());
    ids.sort((a, b) => this.#stamps[a]! - this.#stamps[b]!);
    ids.forEach((id, stamp) => this.#stamps[id] = stamp);
    this.#numEvents = ids.length;
  }
}
