import { RequestError } from "../../core/errors.ts";
import type { BlockId } from "../../core/ids.ts";
import { NO_BLOCK } from "../../core/cache_group.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { Hit } from "./longest_hit.ts";

/** What pins need of the cache they keep blocks in. */
export interface PinnableCache {
  /** Token positions per block. */
  readonly blockSize: number;
  lookUp(scope: string, tokens: Uint32Array, limit: number): Hit;
  /** Slabs that the blocks of a hit fill. */
  numSlabsOf(hit: Hit): number;
  retain(ids: readonly BlockId[]): void;
  release(ids: readonly BlockId[]): void;
}

/** What one name holds. */
interface Pin {
  /** Of all groups, each group's from the first positions on. */
  readonly ids: readonly BlockId[];
  /** Slabs that they fill. */
  readonly numBlocks: number;
  /** Leading positions that they hold. */
  readonly numTokens: number;
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
  readonly #pins = new Map<string, Pin>();
  #numBlocks = 0;
  #numTokens = 0;

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

  /**
   * Blocks that pins hold, one that two of them share counted twice; slabs, where these are cut.
   */
  get numBlocks(): number {
    return this.#numBlocks;
  }

  /** Leading positions that pins hold, one that two of them share counted twice. */
  get numTokens(): number {
    return this.#numTokens;
  }

  /**
   * Pins what is cached of `tokens` under `name`, in place of what that name held; returns how many
   * blocks that is.
   *
   * @throws {RequestError} with the numbers when the cap would be exceeded. Nothing has changed.
   */
  pin(name: string, scope: string, tokens: Uint32Array): number {
    const hit = this.#cache.lookUp(scope, tokens, tokens.length);
    const numBlocks = this.#cache.numSlabsOf(hit);
    const numOthers = this.#numBlocks - (this.#pins.get(name)?.numBlocks ?? 0);
    const limit = this.maxNumBlocks;
    if (numOthers + numBlocks > limit) {
      throw new RequestError(
        `Cannot pin ${numBlocks} blocks: ${numOthers} are pinned and at most ${limit} may be`,
        {
          code: "pin_limit_exceeded",
          details: { n_blocks: numBlocks, n_pinned: numOthers, limit },
        },
      );
    }
    const ids = hit.blocks.flatMap((blocks) => blocks.filter((id) => id !== NO_BLOCK));
    this.#cache.retain(ids);
    this.remove(name);
    const numTokens = hit.nodes.length * this.#cache.blockSize;
    this.#pins.set(name, { ids, numBlocks, numTokens });
    this.#numBlocks += numBlocks;
    this.#numTokens += numTokens;
    return numBlocks;
  }

  /** Leading positions that the pin of that name holds. */
  numTokensOf(name: string): number {
    return this.#pins.get(name)?.numTokens ?? 0;
  }

  /** Takes the pin of that name back; returns whether there was one. */
  remove(name: string): boolean {
    const pin = this.#pins.get(name);
    if (pin === undefined) return false;
    this.#cache.release(pin.ids);
    this.#pins.delete(name);
    this.#numBlocks -= pin.numBlocks;
    this.#numTokens -= pin.numTokens;
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
  resize(remap: BlockRemap, numPoolBlocks: number): void {
    this.#maxNumBlocks = Math.floor(this.#maxShare * numPoolBlocks);
    for (const [name, pin] of this.#pins) {
      this.#pins.set(name, { ...pin, ids: remap.idsOf(pin.ids) });
    }
  }

  /** 1 for each of the blocks `[0, numBlocks)` that a pin holds, by its id. O(blocks pinned). */
  flags(numBlocks: number): Uint8Array {
    const flags = new Uint8Array(numBlocks);
    for (const { ids } of this.#pins.values()) for (const id of ids) flags[id] = 1;
    return flags;
  }

  /** Adds the references of all pins to `counts`, one entry per block; for audits. */
  countReferences(counts: number[]): void {
    for (const { ids } of this.#pins.values()) for (const id of ids) counts[id]!++;
  }
}
