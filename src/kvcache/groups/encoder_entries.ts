import { invariant } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";
import type { ContentKey } from "./block_index.ts";

/**
 * Which blocks hold the encoder's output for which input, per group.
 *
 * An entry is found whole or not at all, so it ends with the first of its blocks. The entry's
 * references are its blocks': those that use it retain and release all of them together.
 */
export class EncoderEntries {
  readonly #entries: readonly Map<ContentKey, readonly BlockId[]>[];
  readonly #keys: readonly Map<BlockId, ContentKey>[];

  constructor(numGroups: number) {
    this.#entries = Array.from({ length: numGroups }, () => new Map());
    this.#keys = Array.from({ length: numGroups }, () => new Map());
  }

  /** The blocks with the output for the input of this content hash, in order; or undefined. */
  find(group: number, key: ContentKey): readonly BlockId[] | undefined {
    return this.#entries[group]!.get(key);
  }

  /** Whether `blocks` now are the entry of `key`; false when there is one already. */
  insert(group: number, key: ContentKey, blocks: readonly BlockId[]): boolean {
    if (this.#entries[group]!.has(key)) return false;
    this.#entries[group]!.set(key, blocks);
    for (const id of blocks) this.#keys[group]!.set(id, key);
    return true;
  }

  /** Ends the entry that block `id` belongs to, and returns its key and blocks. */
  remove(group: number, id: BlockId): { key: ContentKey; blocks: readonly BlockId[] } | undefined {
    const key = this.#keys[group]!.get(id);
    if (key === undefined) return undefined;
    const blocks = this.#entries[group]!.get(key)!;
    this.#entries[group]!.delete(key);
    for (const block of blocks) this.#keys[group]!.delete(block);
    return { key, blocks };
  }

  /** The blocks of `group` that belong to an entry. */
  blocks(group: number): Iterable<BlockId> {
    return this.#keys[group]!.keys();
  }

  /** Audit: entries and blocks name each other. O(blocks in entries). */
  checkIntegrity(): void {
    this.#entries.forEach((entries, group) => {
      let numBlocks = 0;
      for (const [key, blocks] of entries) {
        numBlocks += blocks.length;
        const isWhole = blocks.every((id) => this.#keys[group]!.get(id) === key);
        invariant(isWhole, `an encoder entry of group ${group} shares a block`);
      }
      invariant(numBlocks === this.#keys[group]!.size, `group ${group} has blocks of no entry`);
    });
  }
}
