import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { PrefixCache } from "../prefix/prefix_cache.ts";
import type { BlockContent, TreePlace } from "../prefix/radix_tree.ts";
import type { BlockTables } from "./block_tables.ts";
import { type CachingOptions, OPEN_SCOPE, type SequencePath } from "./sequence_path.ts";

/** Where a block of a path goes in the tree, and which block of the table it is. */
interface PathPlace {
  readonly below: BlockId | undefined;
  readonly at: number;
}

/**
 * How far the blocks of one table are findable, with one group of full attention.
 *
 *     table   [ 7 , 3 , 9 , 5 ]        blocks 7 and 3 were found, 9 and 5 were filled here
 *     tree      7 - 3 - 8              8 holds the same tokens as 9, and was first
 *
 * From the first such duplicate on, blocks become findable only when the table ends: 5 would hang
 * below 8, which this table does not hold, so 8 would take up room and could not be evicted.
 */
export class OneFullGroupPath implements SequencePath {
  readonly #cache: PrefixCache;
  readonly #options: CachingOptions;
  /** The last findable block of the table. */
  #tip: BlockId | undefined;
  /** Leading blocks of the table that are findable, and those of them that were found. */
  #numBlocks: number;
  readonly #numFound: number;
  #hasDuplicate = false;
  #tokens: Uint32Array = new Uint32Array();
  /** Leading blocks of the table that are full of computed tokens. */
  #numFull = 0;

  /** Starts with the blocks that were found for the table, which holds them. */
  constructor(cache: PrefixCache, found: readonly BlockId[], options: CachingOptions) {
    this.#cache = cache;
    this.#options = options;
    this.#tip = found.at(-1);
    this.#numFound = this.#numBlocks = found.length;
  }

  /** Up to the first block of which the tree has a duplicate. */
  publish([table]: BlockTables, tokens: Uint32Array, numComputed: number): void {
    this.#tokens = tokens;
    this.#numFull = Math.floor(numComputed / this.#cache.blockSize);
    if (this.#isForgotten) return;
    while (!this.#hasDuplicate && this.#numBlocks < this.#numFull) {
      const own = table![this.#numBlocks]!;
      this.#hasDuplicate = this.#insert(own, { below: this.#tip, at: this.#numBlocks }) !== own;
      if (this.#hasDuplicate) return;
      this.#tip = own;
      this.#numBlocks++;
    }
  }

  /** Follows its blocks to their new ids. */
  remap(remap: BlockRemap): void {
    if (this.#tip !== undefined) this.#tip = remap.idOf(this.#tip);
  }

  /** The table's blocks, each followed by the one that was found in its stead. */
  end(tables: BlockTables): readonly (readonly BlockId[])[] {
    if (!this.#hasDuplicate || this.#isForgotten) return tables;
    const table = tables[0]!;
    const held = table.slice(0, this.#numBlocks);
    let below = this.#tip;
    let at = this.#numBlocks;
    for (; at < this.#numFull; at++) {
      const own = table[at]!;
      const found = this.#insertUnshared(own, { below, at });
      if (found === undefined) break;
      held.push(own);
      // Held like the table's own, so that the blocks below it are let go before it is.
      if (found !== own) {
        this.#cache.retain([found]);
        held.push(found);
      }
      below = found;
    }
    return [[...held, ...table.slice(at)]];
  }

  /** Nothing leaves the table before its end. */
  dropPassed(): void {}

  /** It holds nothing but what the table does. */
  close(): void {}

  /** Only {@link end} holds blocks in place of its own. */
  returnAdopted(): boolean {
    return false;
  }

  countReferences(): void {}

  countNodes(): void {}

  forget([table]: BlockTables, tokens: Uint32Array, numSound: number): void {
    const own = this.#numFound < this.#numBlocks ? table![this.#numFound] : undefined;
    if (own !== undefined && this.#cache.has(own)) this.#cache.forget(own);
    const found = this.#cache.match(this.#options.scope ?? OPEN_SCOPE, tokens, tokens.length);
    if (found[numSound] !== undefined) this.#cache.forget(found[numSound]);
    this.#numFull = 0;
  }

  /**
   * Whether the last findable block of the table has been forgotten since: nothing can go below it.
   */
  get #isForgotten(): boolean {
    return this.#tip !== undefined && !this.#cache.has(this.#tip);
  }

  /** Skips a block shared with another table, which does not hold the block above the place. */
  #insertUnshared(own: BlockId, place: PathPlace): BlockId | undefined {
    const isFindable = this.#cache.isUnshared(own) || this.#find(place) !== undefined;
    return isFindable ? this.#insert(own, place) : undefined;
  }

  #find(place: PathPlace): BlockId | undefined {
    return this.#cache.find(this.#treePlace(place), this.#content(place));
  }

  #insert(own: BlockId, place: PathPlace): BlockId {
    const { retention } = this.#options;
    return this.#cache.insert(this.#treePlace(place), own, this.#content(place), retention);
  }

  #treePlace({ below }: PathPlace): TreePlace {
    return { scope: this.#options.scope ?? OPEN_SCOPE, parent: below };
  }

  #content({ at }: PathPlace): BlockContent {
    return { tokens: this.#tokens, start: at * this.#cache.blockSize };
  }
}
