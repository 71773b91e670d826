import type { BlockId } from "../../core/ids.ts";
import type { BlockSource } from "../pool/pool.ts";
import type { BlockRemap } from "../pool/block_remap.ts";

/**
 * What the copies of the step in flight read: one reference to each source and to the blocks before
 * it in its table, so that neither is given away while the device still reads it.
 */
export class CopySources {
  readonly #owner: BlockSource;
  #held: (readonly BlockId[])[] = [];

  /** Nothing held; references are taken from `owner`. */
  constructor(owner: BlockSource) {
    this.#owner = owner;
  }

  /** Holds a source, the last of `ids`, and the blocks before it. */
  hold(ids: readonly BlockId[]): void {
    this.#owner.retain(ids);
    this.#held.push(ids);
  }

  /** The copies have been carried out: lets go of all sources. */
  release(): void {
    for (const ids of this.#held) this.#owner.release(ids);
    this.#held = [];
  }

  /** Follows blocks to their new ids. */
  remap(remap: BlockRemap): void {
    this.#held = this.#held.map((ids) => remap.idsOf(ids));
  }

  /** Adds the references held to `counts`, one entry per block; for audits. */
  countReferences(counts: Uint32Array): void {
    for (const ids of this.#held) for (const id of ids) counts[id]!++;
  }
}
