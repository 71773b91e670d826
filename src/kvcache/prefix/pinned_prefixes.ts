import { RequestError } from "../../core/errors.ts";
import type { BlockId } from "../../core/ids.ts";
import type { BlockSource } from "../pool/block_pool.ts";
import type { BlockRemap } from "../pool/block_remap.ts";

/** What pins need of the cache they keep blocks in. */
export interface PinnableCache extends BlockSource {
  /** Token positions per block. */
  readonly blockSize: number;
  match(scope: string, tokens: Uint32Array, limit: number): BlockId[];
}

/**
 * Prefixes that stay cached until they are unpinned, each under a name.
 *
 * A pin holds one reference to each of its blocks, so they are in use like those of a sequence. The
 * sum over all pins is capped: what two pins share counts twice, which errs on the side of room for
 * requests.
 */
export class PinnedPrefixes {
  readonly #cache: PinnableCache;
  /** Share of the pool that may be pinned, from 0 to 1. */
  readonly #maxShare: number;
  #maxNumBlocks: number;
  readonly #pins = new Map<string, readonly BlockId[]>();
  #numBlocks = 0;

  /** No pins; at most `maxShare` of a pool that has `numPoolBlocks` now. */
  constructor(cache: PinnableCache, maxShare: number, numPoolBlocks: number) {
    this.#cache = cache;
    this.#maxShare = maxShare;
    this.#maxNumBlocks = Math.floor(maxShare * numPoolBlocks);
  }

  /** Most blocks that pins may hold. */
  get maxNumBlocks(): number {
    return this.#maxNumBlocks;
  }

  /** Token positions per block. */
  get blockSize(): number {
    return this.#cache.blockSize;
  }

  /** Blocks that pins hold, one that two of them share counted twice. */
  get numBlocks(): number {
    return this.#numBlocks;
  }

  /**
   * Pins what is cached of `tokens` under `name`, in place of what that name held; returns how many
   * blocks that is.
   *
   * @throws {RequestError} with the numbers when the cap would be exceeded. Nothing has changed.
   */
  pin(name: string, scope: string, tokens: Uint32Array): number {
    const blocks = this.#cache.match(scope, tokens, tokens.length);
    const numBefore = this.#pins.get(name)?.length ?? 0;
    const numAfter = this.#numBlocks - numBefore + blocks.length;
    if (numAfter > this.maxNumBlocks) {
      throw new RequestError(
        `Cannot pin ${blocks.length} blocks: ${this.#numBlocks - numBefore} are pinned and at ` +
          `most ${this.maxNumBlocks} may be`,
        {
          code: "pin_limit_exceeded",
          details: { n_blocks: blocks.length, n_pinned: this.#numBlocks, limit: this.maxNumBlocks },
        },
      );
    }
    this.#cache.retain(blocks);
    this.remove(name);
    this.#pins.set(name, blocks);
    this.#numBlocks += blocks.length;
    return blocks.length;
  }

  /** Takes the pin of that name back; returns whether there was one. */
  remove(name: string): boolean {
    const blocks = this.#pins.get(name);
    if (blocks === undefined) return false;
    this.#cache.release(blocks);
    this.#pins.delete(name);
    this.#numBlocks -= blocks.length;
    return true;
  }

  /** Takes all pins back. */
  removeAll(): void {
    for (const name of [...this.#pins.keys()]) this.remove(name);
  }

  /** Whether what is pinned would be within its share of a pool of `numPoolBlocks`. */
  fits(numPoolBlocks: number): boolean {
    return this.#numBlocks <= Math.floor(this.#maxShare * numPoolBlocks);
  }

  /** Takes the pool's new size, which the pins fit, and the blocks' new ids. O(blocks pinned). */
  resize(remap: BlockRemap): void {
    this.#maxNumBlocks = Math.floor(this.#maxShare * remap.numBlocks);
    for (const [name, blocks] of this.#pins) this.#pins.set(name, remap.idsOf(blocks));
  }

  /** Adds the references of all pins to `counts`, one entry per block; for audits. */
  countReferences(counts: Uint32Array): void {
    for (const blocks of this.#pins.values()) for (const id of blocks) counts[id]!++;
  }
}
