import { invariant, InvariantError } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";
import { type BlockKey, BlockKeyColumn, type BlockKeyer } from "./block_key.ts";
import { BlockRemap } from "../pool/block_remap.ts";
import { HashIndex } from "./hash_index.ts";
import { NodeUsage } from "./node_usage.ts";
import { PathHasher } from "./path_hash.ts";
import { ScopeRoots } from "./scope_roots.ts";

/** The parent of a block that is not in the tree. */
export const ABSENT = -1;
/** What stands for no block where one is looked for. */
const NONE = -1;

/** Where a block is looked for or put: below `parent`, or below the root of `scope`. */
export interface TreePlace {
  readonly scope: string;
  readonly parent: BlockId | undefined;
}

/** How far a prompt has been seen to lead, and how that place is known again. */
export interface PathEnd {
  readonly block: BlockId;
  /** Of the path to there; see {@link RadixTree.hashOf}. */
  readonly hash: number;
  /** From the first position on. */
  readonly numBlocks: number;
}

/** What a block holds: `tokens[start, start + blockSize)`. */
export interface BlockContent {
  readonly tokens: Uint32Array;
  readonly start: number;
}

/**
 * Token sequences whose KV is cached, as one radix tree per scope with blocks for nodes.
 *
 *     scope "a" --- [You are a help] --- [ful assistant. ] --+-- [What is 2 + 2? ]
 *                        block 7              block 3        '-- [Write a poem on]
 *
 * After Zheng et al. 2023, "RadixAttention" (arXiv:2312.07104), section 3, with one difference: an
 * edge of several blocks is a chain of nodes with one child each. The run that two prompts share
 * therefore needs no split when a third leaves it midway; it gets a second child. A node is cached
 * or evicted by itself, and what the tree knows of it are entries of columns indexed by block id.
 *
 * A child is found by the hash of its path, scope and all tokens to its end, and then by comparing
 * parent and tokens, so a collision costs time and never serves the KV of other tokens. All
 * operations cost O(blocks walked); columns take 37 bytes per block and 4 per token position.
 */
export class RadixTree {
  readonly blockSize: number;
  /** Makes the hashes that {@link hashOf} tells. */
  readonly hasher: PathHasher;
  /** How often its blocks were found. */
  readonly usage: NodeUsage = new NodeUsage();
  readonly #keyer: BlockKeyer;
  /** Block id, or `-2 - root id`, or ABSENT. */
  #parents: Int32Array;
  /** 0 for blocks that are not in the tree. */
  #numChildren: Uint32Array;
  /** `[block][offset]`, valid for blocks in the tree. */
  #tokens: Uint32Array;
  /** The blocks by the hashes of their paths. */
  readonly #index: HashIndex;
  readonly #keys: BlockKeyColumn;
  readonly #roots = new ScopeRoots();
  #numBlocks = 0;

  constructor(numBlocks: number, blockSize: number, keyer: BlockKeyer) {
    this.blockSize = blockSize;
    this.hasher = new PathHasher(blockSize);
    this.#keyer = keyer;
    this.#parents = new Int32Array(numBlocks).fill(ABSENT);
    this.#numChildren = new Uint32Array(numBlocks);
    this.#tokens = new Uint32Array(numBlocks * blockSize);
    this.#index = new HashIndex(numBlocks);
    this.#keys = new BlockKeyColumn(numBlocks);
  }

  /** Blocks in the tree. */
  get numBlocks(): number {
    return this.#numBlocks;
  }

  /** Places of blocks. */
  get capacity(): number {
    return this.#parents.length;
  }

  /** Block above each block, `-2 - root` below a root, or {@link ABSENT}. Not to be written. */
  get parents(): Int32Array {
    return this.#parents;
  }

  /** Children of each block. Not to be written. */
  get childCounts(): Uint32Array {
    return this.#numChildren;
  }

  /** The scope of a root, by its number in {@link parents}. */
  scopeOfRoot(root: number): string {
    return this.#roots.scopeOf(root);
  }

  /** Whether block `id` is in the tree. */
  has(id: BlockId): boolean {
    return this.#parents[id] !== ABSENT;
  }

  /** The block above block `id`; undefined when `id` holds the first positions. */
  parentOf(id: BlockId): BlockId | undefined {
    const parent = this.#parents[id]!;
    return parent >= 0 ? parent : undefined;
  }

  /** Whether nothing hangs below block `id`. */
  isLeaf(id: BlockId): boolean {
    return this.#numChildren[id] === 0;
  }

  /** The tokens of block `id`; valid while it is in the tree. */
  tokensOf(id: BlockId): Uint32Array {
    return this.#tokens.subarray(id * this.blockSize, (id + 1) * this.blockSize);
  }

  /**
   * The blocks of the longest cached prefix of `tokens[0, limit)` within `scope`, in order of
   * position. Changes nothing.
   */
  match(scope: string, tokens: Uint32Array, limit: number): BlockId[] {
    const blocks: BlockId[] = [];
    const root = this.#roots.find(scope);
    if (root === undefined) return blocks;
    let parent = -2 - root;
    let hash = this.hasher.root(scope);
    for (let start = 0; start + this.blockSize <= limit; start += this.blockSize) {
      hash = this.hasher.child(hash, tokens, start);
      const block = this.#findChild({ parent, hash }, tokens, start);
      if (block === NONE) break;
      blocks.push(block);
      parent = block;
    }
    return blocks;
  }

  /**
   * How far {@link match} leads, from where it led `before`; undefined for nowhere. O(1) where that
   * place is left and nothing has come below it, O(blocks of the match) where it is gone.
   *
   * A place whose block has got other content is taken for itself where the 32 bits of both hashes
   * agree: for orders and estimates, never to share a block.
   */
  follow(
    scope: string,
    tokens: Uint32Array,
    limit: number,
    before?: PathEnd,
  ): PathEnd | undefined {
    const root = this.#roots.find(scope);
    if (root === undefined) return undefined;
    const isThere = before !== undefined && this.has(before.block) &&
      this.hashOf(before.block) === before.hash;
    let end = isThere ? before : undefined;
    let hash = end?.hash ?? this.hasher.root(scope);
    let numBlocks = end?.numBlocks ?? 0;
    while ((numBlocks + 1) * this.blockSize <= limit) {
      const start = numBlocks * this.blockSize;
      hash = this.hasher.child(hash, tokens, start);
      const block = this.#findChild({ parent: end?.block ?? -2 - root, hash }, tokens, start);
      if (block === NONE) break;
      end = { block, hash, numBlocks: ++numBlocks };
    }
    return end;
  }

  /** The block at `place` that holds `tokens[start, start + blockSize)`, or undefined. */
  find({ scope, parent }: TreePlace, tokens: Uint32Array, start: number): BlockId | undefined {
    const root = this.#roots.find(scope);
    if (root === undefined) return undefined;
    const hash = this.hasher.child(this.#hashAbove(scope, parent), tokens, start);
    const block = this.#findChild({ parent: parent ?? -2 - root, hash }, tokens, start);
    return block === NONE ? undefined : block;
  }

  /**
   * Puts block `id` at `place`, holding `tokens[start, start + blockSize)`, which is not there yet.
   */
  insert({ scope, parent }: TreePlace, tokens: Uint32Array, start: number, id: BlockId): void {
    if (this.has(id)) throw new InvariantError(`block ${id} is in the tree already`);
    this.#tokens.set(tokens.subarray(start, start + this.blockSize), id * this.blockSize);
    this.#parents[id] = parent ?? -2 - this.#roots.addChild(scope);
    if (parent !== undefined) this.#numChildren[parent]!++;
    this.#index.add(id, this.hasher.child(this.#hashAbove(scope, parent), tokens, start));
    this.#numBlocks++;
  }

  /** Takes block `id`, a leaf, out of the tree. */
  remove(id: BlockId): void {
    if (!this.has(id) || !this.isLeaf(id)) {
      throw new InvariantError(`block ${id} is not a leaf of the tree`);
    }
    this.#index.remove(id);
    const parent = this.#parents[id]!;
    this.#parents[id] = ABSENT;
    this.#keys.delete(id);
    if (parent >= 0) this.#numChildren[parent]!--;
    else this.#roots.dropChild(-2 - parent);
    this.usage.leave(id, parent >= 0 ? parent : undefined);
    this.#numBlocks--;
  }

  /** Block `id` and all blocks below it, each before its parent. O(1) for a leaf, else O(pool). */
  subtreeOf(id: BlockId): BlockId[] {
    const blocks = [id];
    if (this.isLeaf(id)) return blocks;
    const children = Map.groupBy(this.#parents.keys(), (child) => this.#parents[child]!);
    for (const block of blocks) blocks.push(...children.get(block) ?? []);
    return blocks.reverse();
  }

  /** The key of block `id`; made at the first call, then O(1). */
  keyOf(id: BlockId): BlockKey {
    const missing: BlockId[] = [];
    let at: BlockId | undefined = id;
    let key: BlockKey | undefined;
    while (at !== undefined && (key = this.#keys.get(at)) === undefined) {
      missing.push(at);
      at = this.parentOf(at);
    }
    key ??= this.parentKeyOf(missing.at(-1)!);
    for (const block of missing.reverse()) {
      key = this.#keyer.childKey(key, this.tokensOf(block));
      this.#keys.set(block, key);
    }
    return key;
  }

  /** The key of what stands above block `id`: a block, or the root of its scope. */
  parentKeyOf(id: BlockId): BlockKey {
    const parent = this.#parents[id]!;
    return parent >= 0 ? this.keyOf(parent) : this.#keyer.rootKey(this.#roots.scopeOf(-2 - parent));
  }

  /**
   * The 32-bit hash of block `id`'s path: its scope and all tokens up to its end. It names contents
   * and outlives the block, within this tree alone.
   */
  hashOf(id: BlockId): number {
    return this.#index.hashOf(id);
  }

  /** Makes room for the ids below `numBlocks`, which are more than before. O(pool). */
  grow(numBlocks: number): void {
    this.resize(new BlockRemap(numBlocks, []));
  }

  /** Takes the new size and ids; no block of the tree may be gone. O(pool). */
  resize(remap: BlockRemap): void {
    const parents = remap.column(this.#parents, { fill: ABSENT });
    this.#parents = parents.map((parent) => parent >= 0 ? remap.idOf(parent) : parent);
    this.#numChildren = remap.column(this.#numChildren);
    this.#tokens = remap.column(this.#tokens, { width: this.blockSize });
    this.#keys.remap(remap);
    this.usage.remap(remap);
    this.#index.resize(remap, (id) => this.has(id));
  }

  /** Audit: every block is found below its parent, and children are counted. O(pool). */
  checkIntegrity(): void {
    const numChildren = new Array<number>(this.#numChildren.length).fill(0);
    let numBlocks = 0;
    let numTop = 0;
    for (let id = 0; id < this.#parents.length; id++) {
      const parent = this.#parents[id]!;
      if (parent === ABSENT) continue;
      numBlocks++;
      if (parent >= 0) numChildren[parent]!++;
      else numTop++;
      if (parent >= 0 && !this.has(parent)) {
        throw new InvariantError(`block ${id} hangs below ${parent}, not in the tree`);
      }
      const start = id * this.blockSize;
      const above = parent >= 0
        ? this.#index.hashOf(parent)
        : this.hasher.root(this.#roots.scopeOf(-2 - parent));
      const hash = this.hasher.child(above, this.#tokens, start);
      const found = this.#findChild({ parent, hash }, this.#tokens, start);
      if (found !== id) {
        throw new InvariantError(`block ${id} is looked for and ${found} is found`);
      }
    }
    invariant(
      numBlocks === this.#numBlocks,
      `${numBlocks} blocks in the tree, not ${this.#numBlocks}`,
    );
    for (let id = 0; id < numChildren.length; id++) {
      if (numChildren[id] !== this.#numChildren[id]) {
        throw new InvariantError(`block ${id} has ${numChildren[id]} children, counted otherwise`);
      }
    }
    invariant(
      numTop === this.#roots.numChildren,
      `${numTop} first blocks under ${this.#roots.numScopes} scopes, counted otherwise`,
    );
  }

  /** The child of `parent` (a block, or `-2 - root id`) with that path hash and tokens, or NONE. */
  #findChild(
    { parent, hash }: { readonly parent: number; readonly hash: number },
    tokens: Uint32Array,
    start: number,
  ): number {
    let id = this.#index.first(hash);
    while (id !== NONE && !(this.#parents[id] === parent && this.#holds(id, tokens, start))) {
      id = this.#index.after(id);
    }
    return id;
  }

  /** The path hash of what stands above a place. */
  #hashAbove(scope: string, parent: BlockId | undefined): number {
    return parent === undefined ? this.hasher.root(scope) : this.#index.hashOf(parent);
  }

  #holds(id: BlockId, tokens: Uint32Array, start: number): boolean {
    const own = id * this.blockSize;
    for (let i = 0; i < this.blockSize; i++) {
      if (this.#tokens[own + i] !== tokens[start + i]) return false;
    }
    return true;
  }
}
