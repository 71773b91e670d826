import type { BlockId } from "../../core/ids.ts";
import { BlockIndex, type ContentKey } from "./block_index.ts";
import { EncoderEntries } from "./encoder_entries.ts";
import type { SlabLayout } from "../../core/slab_layout.ts";
import { SlabPool } from "./slab_pool.ts";

/** Learns which content of a group a hit no longer finds. */
export type ForgetListener = (group: number, key: ContentKey) => void;

/**
 * A pool together with the names of what its marked blocks hold: a block is marked exactly while it
 * has a key or belongs to an encoder entry. Every operation is O(blocks passed).
 */
export class GroupCache {
  readonly pool: SlabPool;
  readonly index: BlockIndex;
  readonly entries: EncoderEntries;
  readonly #onForget: ForgetListener;

  constructor(layout: SlabLayout, poolBytes: number, onForget: ForgetListener = () => {}) {
    this.pool = new SlabPool(layout, poolBytes, (group, id) => this.#forget(group, id));
    this.index = new BlockIndex(layout.cuts.length);
    this.entries = new EncoderEntries(layout.cuts.length);
    this.#onForget = onForget;
  }

  /** Lets the content of a used block be hit under `key`, unless another block has it already. */
  publish(group: number, key: ContentKey, id: BlockId): void {
    if (this.index.insert(group, key, id)) this.pool.mark(group, id);
  }

  /** Lets an encoder's output in used blocks be hit, unless others have it already. */
  publishInput(group: number, key: ContentKey, blocks: readonly BlockId[]): void {
    if (blocks.length === 0 || !this.entries.insert(group, key, blocks)) return;
    for (const id of blocks) this.pool.mark(group, id);
  }

  /** Follows the pool, which has unmarked a block; the rest of an encoder entry goes with it. */
  #forget(group: number, id: BlockId): void {
    const entry = this.entries.remove(group, id);
    for (const block of entry?.blocks ?? []) {
      if (block !== id && this.pool.isMarked(group, block)) this.pool.unmark(group, block);
    }
    const key = this.index.remove(group, id) ?? entry?.key;
    if (key !== undefined) this.#onForget(group, key);
  }
}
