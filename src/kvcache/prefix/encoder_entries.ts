import { invariant, InvariantError } from "../../base/invariant.ts";
import type { CacheRetention } from "../../core/generation.ts";
import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { CachedBlocks } from "./cached_blocks.ts";
import type { EncoderEntry, EntryName } from "./encoder_entry.ts";

/**
 * Which blocks hold an encoder's output for which input.
 *
 *     ("", image 5f3a)   [ 9 ][ 4 ][ 7 ]     an entry: all its blocks, or none
 *
 * An entry is found by its content, not by tokens, so it is in no node of the tree; in the order of
 * eviction its blocks stand among all others. A sequence holds all of its blocks or none, so that
 * all are idle or none, and the entry ends with the first of them that is evicted. O(blocks of an
 * entry) per operation.
 */
export class EncoderEntries {
  readonly #cached: CachedBlocks;
  readonly #entries = new Map<string, EncoderEntry>();
  readonly #byBlock = new Map<BlockId, EncoderEntry>();

  /** No entries; for the blocks of that cache. */
  constructor(cached: CachedBlocks) {
    this.#cached = cached;
  }

  /** Blocks that belong to entries. */
  get numBlocks(): number {
    return this.#byBlock.size;
  }

  /** The entry of that name; undefined when there is none. */
  find(name: EntryName): EncoderEntry | undefined {
    return this.#entries.get(textOf(name));
  }

  /** The entry that block `id` belongs to; undefined for one that is no encoder's. */
  entryOf(id: BlockId): EncoderEntry | undefined {
    return this.#byBlock.get(id);
  }

  /** Notes that a newly admitted sequence, which holds the entry's blocks by now, has found it. */
  noteHit({ blocks }: EncoderEntry, retention: CacheRetention | undefined): void {
    const { policy } = this.#cached.idle;
    for (const id of blocks) {
      policy.hit(id);
      if (retention !== undefined) policy.setRetention(id, retention);
    }
  }

  /**
   * Makes `blocks`, which the caller holds, findable under a name and returns their entry;
   * undefined where another has that name already: the first stays.
   */
  add(
    name: EntryName,
    blocks: readonly BlockId[],
    retention: CacheRetention | undefined,
  ): EncoderEntry | undefined {
    invariant(blocks.length > 0, `the entry of input ${name.key} has no blocks`);
    const text = textOf(name);
    if (this.#entries.has(text)) return undefined;
    const { pool, idle, records } = this.#cached;
    const entry: EncoderEntry = { ...name, blocks };
    this.#entries.set(text, entry);
    for (const id of blocks) {
      pool.mark(id);
      this.#byBlock.set(id, entry);
      idle.policy.becomeCached(id);
      if (retention !== undefined) idle.policy.setRetention(id, retention);
    }
    records.tellInputStored(entry);
    return entry;
  }

  /** Whether an entry can still be found. */
  has(entry: EncoderEntry): boolean {
    return this.#entries.get(textOf(entry)) === entry;
  }

  /**
   * Ends an entry that can be found: its holders keep its blocks, and without any they are free.
   */
  drop(entry: EncoderEntry, isTold: boolean): void {
    const { pool, idle, records } = this.#cached;
    if (isTold) records.tellInputRemoved(entry);
    this.#entries.delete(textOf(entry));
    for (const id of entry.blocks) {
      this.#byBlock.delete(id);
      if (pool.isIdle(id)) idle.remove(id);
      pool.unmark(id);
      records.numDropped++;
    }
  }

  /** Follows blocks to their new ids. O(blocks of all entries). */
  remap(remap: BlockRemap): void {
    this.#byBlock.clear();
    for (const entry of this.#entries.values()) {
      entry.blocks = remap.idsOf(entry.blocks);
      for (const id of entry.blocks) this.#byBlock.set(id, entry);
    }
  }

  /** Audit: entries and blocks name each other, and an entry is idle whole. O(blocks of all). */
  checkIntegrity(): void {
    const { pool } = this.#cached;
    let numBlocks = 0;
    for (const entry of this.#entries.values()) {
      const { blocks, key, group } = entry;
      numBlocks += blocks.length;
      const numIdle = blocks.filter((id) => pool.isIdle(id)).length;
      if (!blocks.every((id) => this.#byBlock.get(id) === entry)) {
        throw new InvariantError(`the entry of input ${key} in group ${group} shares a block`);
      }
      if (numIdle !== 0 && numIdle !== blocks.length) {
        throw new InvariantError(`${numIdle} of the ${blocks.length} blocks of ${key} are idle`);
      }
    }
    if (numBlocks !== this.#byBlock.size) {
      throw new InvariantError(`entries have ${numBlocks} blocks, ${this.#byBlock.size} name one`);
    }
  }
}

/** No two names have the same. */
function textOf({ group, scope, key }: EntryName): string {
  return `${group}:${scope.length}:${scope}${key}`;
}
