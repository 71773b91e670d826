import { invariant } from "../base/invariant.ts";
import type { BlockId } from "../core/ids.ts";
import { type BlockKey, BlockKeyColumn, type BlockKeyer } from "./block_key.ts";
import type { BlockRenaming } from "./block_renaming.ts";
import { ScopeRoots } from "./scope_roots.ts";

/** The parent of a block that is not in the tree. */
const ABSENT = -1;
/** End of a chain of the index. */
const END = -1;

/** Where a block is looked for or put: below `parent`, or below the root of `scope`. */
export interface TreePlace {
  readonly scope: string;
  readonly parent: BlockId | undefined;
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
 * A child is found by hash of (parent, its tokens) and by comparing every token, so a collision
 * costs time and never serves the KV of other tokens. All operations cost O(blocks walked); columns
 * take 33 bytes per block and 4 per token position.
 */
export class RadixTree {
  readonly blockSize: number;
  readonly #keyer: BlockKeyer;
  /** Block id, or `-2 - root id`, or ABSENT. */
  #parents: Int32Array;
  /** 0 for blocks that are not in the tree. */
  #numChildren: Uint32Array;
  /** `[block][offset]`, valid for blocks in the tree. */
  #tokens: Uint32Array;
  /** Chained hash table over all blocks: first of each bucket, next of each block. */
  #buckets: Int32Array;
  #nextInBucket: Int32Array;
  /** Makes it hard to send prompts that all fall into one bucket; it decides no order. */
  readonly #hashSeed = crypto.getRandomValues(new Uint32Array(1))[0]!;
  readonly #keys: BlockKeyColumn;
  readonly #roots = new ScopeRoots();
  #numBlocks = 0;

  constructor(numBlocks: number, blockSize: number, keyer: BlockKeyer) {
    this.blockSize = blockSize;
    this.#keyer = keyer;
    this.#parents = new Int32Array(numBlocks).fill(ABSENT);
    this.#numChildren = new Uint32Array(numBlocks);
    this.#tokens = new Uint32Array(numBlocks * blockSize);
    this.#buckets = emptyBuckets(numBlocks);
    this.#nextInBucket = new Int32Array(numBlocks).fill(END);
    this.#keys = new BlockKeyColumn(numBlocks);
  }

  /** Blocks in the tree. */
  get numBlocks(): number {
    return this.#numBlocks;
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
    for (let start = 0; start + this.blockSize <= limit; start += this.blockSize) {
      const block = this.#findChild(parent, tokens, start);
      if (block === END) break;
      blocks.push(block);
      parent = block;
    }
    return blocks;
  }

  /** The block at `place` that holds `tokens[start, start + blockSize)`, or undefined. */
  find(place: TreePlace, tokens: Uint32Array, start: number): BlockId | undefined {
    const root = this.#roots.find(place.scope);
    if (root === undefined) return undefined;
    const block = this.#findChild(place.parent ?? -2 - root, tokens, start);
    return block === END ? undefined : block;
  }

  /** Puts block `id` at `place`, holding `tokens[start, start + blockSize)`, which is not there yet. */
  insert(place: TreePlace, tokens: Uint32Array, start: number, id: BlockId): void {
    invariant(!this.has(id), `block ${id} is in the tree already`);
    const parent = place.parent ?? -2 - this.#roots.addChild(place.scope);
    this.#tokens.set(tokens.subarray(start, start + this.blockSize), id * this.blockSize);
    this.#parents[id] = parent;
    if (parent >= 0) this.#numChildren[parent]!++;
    this.#enterBucket(id, this.#bucketOf(parent, tokens, start));
    this.#numBlocks++;
  }

  /** Takes block `id`, a leaf, out of the tree. */
  remove(id: BlockId): void {
    invariant(this.has(id) && this.isLeaf(id), `block ${id} is not a leaf of the tree`);
    const parent = this.#parents[id]!;
    const bucket = this.#bucketOf(parent, this.#tokens, id * this.blockSize);
    if (this.#buckets[bucket] === id) this.#buckets[bucket] = this.#nextInBucket[id]!;
    else {
      let before = this.#buckets[bucket]!;
      while (this.#nextInBucket[before] !== id) before = this.#nextInBucket[before]!;
      this.#nextInBucket[before] = this.#nextInBucket[id]!;
    }
    this.#parents[id] = ABSENT;
    this.#keys.delete(id);
    if (parent >= 0) this.#numChildren[parent]!--;
    else this.#roots.dropChild(-2 - parent);
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
   * Takes the new size and ids; no block of the tree may be gone. O(pool), since a block's bucket depends
   * on its parent's id.
   */
  resize(renaming: BlockRenaming): void {
    const { numBlocks } = renaming;
    const parents = renaming.column(this.#parents, { fill: ABSENT });
    this.#parents = parents.map((parent) => parent >= 0 ? renaming.idOf(parent) : parent);
    this.#numChildren = renaming.column(this.#numChildren);
    this.#tokens = renaming.column(this.#tokens, { width: this.blockSize });
    this.#keys.rename(renaming);
    this.#buckets = emptyBuckets(numBlocks);
    this.#nextInBucket = new Int32Array(numBlocks).fill(END);
    this.#parents.forEach((parent, id) => {
      if (parent === ABSENT) return;
      this.#enterBucket(id, this.#bucketOf(parent, this.#tokens, id * this.blockSize));
    });
  }

  /** Audit: every block is found below its parent, and children are counted. O(pool). */
  checkIntegrity(): void {
    const numChildren = new Uint32Array(this.#numChildren.length);
    let numBlocks = 0;
    let numTop = 0;
    this.#parents.forEach((parent, id) => {
      if (parent === ABSENT) return;
      numBlocks++;
      if (parent >= 0) numChildren[parent]!++;
      else numTop++;
      invariant(
        parent < 0 || this.has(parent),
        `block ${id} hangs below ${parent}, not in the tree`,
      );
      const found = this.#findChild(parent, this.#tokens, id * this.blockSize);
      invariant(found === id, `block ${id} is looked for and ${found} is found`);
    });
    invariant(
      numBlocks === this.#numBlocks,
      `${numBlocks} blocks in the tree, not ${this.#numBlocks}`,
    );
    const wrong = numChildren.findIndex((count, id) => count !== this.#numChildren[id]);
    invariant(wrong < 0, `block ${wrong} has ${numChildren[wrong]} children, counted otherwise`);
    invariant(
      numTop === this.#roots.numChildren,
      `${numTop} first blocks under ${this.#roots.numScopes} scopes, counted otherwise`,
    );
  }

  #findChild(parent: number, tokens: Uint32Array, start: number): number {
    let id = this.#buckets[this.#bucketOf(parent, tokens, start)]!;
    while (id !== END && !(this.#parents[id] === parent && this.#holds(id, tokens, start))) {
      id = this.#nextInBucket[id]!;
    }
    return id;
  }

  #enterBucket(id: BlockId, bucket: number): void {
    this.#nextInBucket[id] = this.#buckets[bucket]!;
    this.#buckets[bucket] = id;
  }

  #holds(id: BlockId, tokens: Uint32Array, start: number): boolean {
    const own = id * this.blockSize;
    for (let i = 0; i < this.blockSize; i++) {
      if (this.#tokens[own + i] !== tokens[start + i]) return false;
    }
    return true;
  }

  #bucketOf(parent: number, tokens: Uint32Array, start: number): number {
    let hash = this.#hashSeed ^ Math.imul(parent, 0x9e3779b1);
    for (let i = start; i < start + this.blockSize; i++) {
      hash = Math.imul(hash ^ tokens[i]!, 0x85ebca6b);
      hash ^= hash >>> 13;
    }
    return (hash ^ (hash >>> 16)) & (this.#buckets.length - 1);
  }
}

function emptyBuckets(numBlocks: number): Int32Array {
  return new Int32Array(2 ** Math.ceil(Math.log2(numBlocks))).fill(END);
}
