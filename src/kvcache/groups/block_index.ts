import { invariant } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";

/**
 * Names the content of a block: the chained key of everything up to the block's end, or an encoder
 * input's content hash. Whoever makes keys sees to it that equal keys mean equal content.
 */
export type ContentKey = string | bigint;

/** Per group, the keys of a sequence's blocks from its start: entry `i` ends at `(i + 1)` blocks. */
export type ContentKeys = readonly (readonly ContentKey[])[];

/**
 * Which block holds which content, per group.
 *
 * A key names one block of a group at most: who computes a content that is there already keeps a
 * private block, which is free once it is released. Every operation is O(1).
 */
export class BlockIndex {
  readonly #blocks: readonly Map<ContentKey, BlockId>[];
  readonly #keys: readonly Map<BlockId, ContentKey>[];

  constructor(numGroups: number) {
    this.#blocks = Array.from({ length: numGroups }, () => new Map());
    this.#keys = Array.from({ length: numGroups }, () => new Map());
  }

  /** The block of `group` with this content, or undefined. */
  find(group: number, key: ContentKey): BlockId | undefined {
    return this.#blocks[group]!.get(key);
  }

  /** Whether `id` now holds the content of `key`; false when another block does. */
  insert(group: number, key: ContentKey, id: BlockId): boolean {
    if (this.#blocks[group]!.has(key)) return false;
    invariant(!this.#keys[group]!.has(id), `block ${id} of group ${group} has a key already`);
    this.#blocks[group]!.set(key, id);
    this.#keys[group]!.set(id, key);
    return true;
  }

  /** Forgets what block `id` holds, and returns its key; undefined if it had none. */
  remove(group: number, id: BlockId): ContentKey | undefined {
    const key = this.#keys[group]!.get(id);
    if (key === undefined) return undefined;
    this.#keys[group]!.delete(id);
    this.#blocks[group]!.delete(key);
    return key;
  }

  /** The blocks of `group` that have a key. */
  blocks(group: number): Iterable<BlockId> {
    return this.#keys[group]!.keys();
  }

  /** Audit: keys and blocks name each other. O(blocks with a key). */
  checkIntegrity(): void {
    this.#keys.forEach((keys, group) => {
      const blocks = this.#blocks[group]!;
      invariant(keys.size === blocks.size, `${keys.size} blocks for ${blocks.size} keys`);
      for (const [id, key] of keys) {
        invariant(blocks.get(key) === id, `key of block ${id} of group ${group} names another`);
      }
    });
  }
}
