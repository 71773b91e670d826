import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { PrefixCache } from "../prefix/prefix_cache.ts";
import type { BlockContent, TreeParent } from "../prefix/radix_tree.ts";
import type { BlockTables } from "./block_tables.ts";
import { type CachingOptions, OPEN_SCOPE, type SequencePath } from "./sequence_path.ts";

/** An entry of the table: the block that it goes below in the tree, and its index in the table. */
interface PathEntry {
  readonly parent: BlockId | undefined;
  readonly index: number;
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
      const entry = { parent: this.#tip, index: this.#numBlocks };
      this.#hasDuplicate = this.#insert(own, entry) !== own;
      if (this.#hasDuplicate) return;
      this.#tip = own;
      this.#numBlocks++;
    }
  }

  /** Follows its blocks to their new ids. */
  remap(remap: BlockRemap): void {
    if (this.#tip !== undefined) this.#tip = remap.idOf(this.#tip);
  }

  /** The table's blocks, each followed by the cached duplicate of it, where there is one. */
  end(tables: BlockTables): readonly (readonly BlockId[])[] {
    if (!this.#hasDuplicate || this.#isForgotten) return tables;
    const table = tables[0]!;
    const held = table.slice(0, this.#numBlocks);
    let parent = this.#tip;
    let index = this.#numBlocks;
    for (; index < this.#numFull; index++) {
      const own = table[index]!;
      const found = this.#insertUnshared(own, { parent, index });
      if (found === undefined) break;
      held.push(own);
      // Held like the table's own, so that the blocks below it are let go before it is.
      if (found !== own) {
        this.#cache.retain([found]);
        held.push(found);
      }
      parent = found;
    }
    return [[...held, ...table.slice(index)]];
  }

  /** Nothing leaves the table before its end. */
  dropPassed(): void {}

  /** It holds nothing but what the table does. */
  close(): void {}

  /** Only {@link end} holds blocks that duplicate its own. */
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

  /** Skips a block shared with another table, which does not hold the block above it here. */
  #insertUnshared(own: BlockId, entry: PathEntry): BlockId | undefined {
    const isFindable = this.#cache.isUnshared(own) || this.#find(entry) !== undefined;
    return isFindable ? this.#insert(own, entry) : undefined;
  }

  #find(entry: PathEntry): BlockId | undefined {
    return this.#cache.find(this.#above(entry), this.#content(entry));
  }

  #insert(own: BlockId, entry: PathEntry): BlockId {
    const { retention } = this.#options;
    return this.#cache.insert(this.#above(entry), own, this.#content(entry), retention);
  }

  #above({ parent }: PathEntry): TreeParent {
    return { scope: this.#options.scope ?? OPEN_SCOPE, parent };
  }

  #content({ index }: PathEntry): BlockContent {
    return { tokens: this.#tokens, start: index * this.#cache.blockSize };
  }
}
