import { invariant } from "../../base/invariant.ts";
import { OutOfBlocksError } from "../../core/errors.ts";
import type { CacheRetention } from "../../core/generation.ts";
import type { BlockId } from "../../core/ids.ts";
import { type BlockKey, BlockKeyer } from "./block_key.ts";
import type { BlockPool, BlockSource } from "../pool/block_pool.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { CacheListener } from "./cache_listener.ts";
import { EvictedBlocks } from "./evicted_blocks.ts";
import { createEvictionPolicy } from "./create_eviction_policy.ts";
import type { EvictionPolicy } from "./eviction_policy.ts";
import { PinnedPrefixes } from "./pinned_prefixes.ts";
import type { PrefixCacheOptions } from "./prefix_cache_options.ts";
import { RadixTree, type TreePlace } from "./radix_tree.ts";

/** What a block holds: `tokens[start, start + blockSize)`. */
export interface BlockContent {
  readonly tokens: Uint32Array;
  readonly start: number;
}

/** Share of the pool that may be pinned unless told otherwise. */
const DEFAULT_MAX_PINNED_SHARE = 0.5;

/**
 * Keeps blocks after the sequences that filled them, so that later prompts with the same beginning
 * find them.
 *
 * The cache holds one reference to each block in its tree. Any other holder of a cached block holds
 * all blocks above it too; so a block with the cache's reference alone is **idle**, everything
 * below it is idle as well, and it can be evicted as soon as it is a leaf:
 *
 *     references   2    2    1    1         a sequence holds 1 and 2
 *                 [1]--[2]--[3]--[4]        3 and 4 are idle: 4 can be evicted, then 3
 *
 * The policy has the idle blocks in order and their number is exact at any time. Free blocks are
 * handed out before any of them is evicted. Every operation costs O(blocks passed).
 */
export class PrefixCache implements BlockSource {
  /** Token positions per block. */
  readonly blockSize: number;
  readonly pins: PinnedPrefixes;
  readonly #pool: BlockPool;
  readonly #tree: RadixTree;
  readonly #evicted = new EvictedBlocks();
  readonly #policy: EvictionPolicy;
  readonly #forceMiss: boolean;
  readonly #listener: CacheListener | undefined;
  #numIdle = 0;
  #numEvicted = 0;
  #numReset = 0;

  constructor(pool: BlockPool, blockSize: number, options: PrefixCacheOptions) {
    const { numBlocks } = pool;
    const { policy = "lru", now = () => performance.now() } = options;
    this.blockSize = blockSize;
    this.#pool = pool;
    this.#tree = new RadixTree(numBlocks, blockSize, new BlockKeyer(options.keySpace));
    this.#policy = createEvictionPolicy(policy, numBlocks, now);
    this.#forceMiss = options.forceMiss ?? false;
    this.#listener = options.listener;
    const maxPinnedShare = options.maxPinnedShare ?? DEFAULT_MAX_PINNED_SHARE;
    this.pins = new PinnedPrefixes(this, maxPinnedShare, numBlocks);
  }

  /** Whether look-ups can find anything. */
  get isSearched(): boolean {
    return !this.#forceMiss;
  }

  /** Idle blocks: the cache alone holds them, and they can be evicted. */
  get numIdle(): number {
    return this.#numIdle;
  }

  /** Blocks in the cache, those in use included. */
  get numCached(): number {
    return this.#tree.numBlocks;
  }

  /** Blocks evicted so far to make room. */
  get numEvicted(): number {
    return this.#numEvicted;
  }

  /** Blocks dropped so far by {@link clear} and {@link forget}. */
  get numReset(): number {
    return this.#numReset;
  }

  get numAvailable(): number {
    return this.#pool.numFree + this.#numIdle;
  }

  /**
   * The cached blocks that `tokens` begin with, in order of position, as many as lie whole within
   * `[0, limit)`. Changes nothing; retain them before anything is allocated.
   */
  match(scope: string, tokens: Uint32Array, limit: number): BlockId[] {
    return this.#forceMiss ? [] : this.#tree.match(scope, tokens, limit);
  }

  /**
   * How many tokens right behind `found`, which `tokens` begin with, are in whole blocks that were
   * evicted of late. The last token does not count. O(1) after no eviction, else O(such blocks).
   */
  countEvicted(scope: string, tokens: Uint32Array, found: readonly BlockId[]): number {
    if (this.#evicted.isEmpty || this.#forceMiss) return 0;
    const { hasher } = this.#tree;
    const last = found.at(-1);
    let hash = last === undefined ? hasher.root(scope) : this.#tree.hashOf(last);
    const start = found.length * this.blockSize;
    let end = start;
    while (end + this.blockSize < tokens.length) {
      hash = hasher.child(hash, tokens, end);
      if (!this.#evicted.has(hash)) break;
      end += this.blockSize;
    }
    return end - start;
  }

  /** Whether block `id` is cached. */
  has(id: BlockId): boolean {
    return this.#tree.has(id);
  }

  /** Whether block `id` has one holder only. */
  isUnshared(id: BlockId): boolean {
    return this.#pool.refCount(id) === 1;
  }

  /** The block at `place` with that content; undefined when none is cached. */
  find(place: TreePlace, { tokens, start }: BlockContent): BlockId | undefined {
    return this.#tree.find(place, tokens, start);
  }

  /** How many of these cached blocks are idle: so many fewer can be evicted once they are held. */
  countIdle(ids: readonly BlockId[]): number {
    return ids.reduce((count, id) => count + (this.#isIdle(id) ? 1 : 0), 0);
  }

  allocate(count: number): BlockId[] {
    if (count > this.numAvailable) throw new OutOfBlocksError(count, this.numAvailable);
    const ids = this.#pool.allocate(Math.min(count, this.#pool.numFree));
    return ids.length === count ? ids : ids.concat(this.#evict(count - ids.length));
  }

  retain(ids: readonly BlockId[]): void {
    for (const id of ids) {
      if (!this.#isIdle(id)) continue;
      this.#policy.remove(id);
      this.#numIdle--;
    }
    this.#pool.retain(ids);
  }

  /** Cached blocks stay, the last of `ids` as the least recently used; others become free. */
  release(ids: readonly BlockId[]): void {
    this.#pool.release(ids);
    for (const id of ids.toReversed()) {
      if (!this.#isIdle(id)) continue;
      this.#policy.add(id, this.#tree.isLeaf(id));
      this.#numIdle++;
    }
  }

  /** Notes that a newly admitted sequence, which holds these blocks, has found them. */
  noteHit(ids: readonly BlockId[], retention?: CacheRetention): void {
    for (const id of ids) {
      this.#policy.hit(id);
      if (retention !== undefined) this.#policy.setRetention(id, retention);
    }
    const last = ids.at(-1);
    if (last !== undefined) this.#listener?.used(this.#tree.keyOf(last));
  }

  /**
   * Makes block `id` findable at `place`, and returns the block that is found there: one that is
   * there already stays, and `id` is not cached. The caller holds `id` and what is above the place.
   */
  insert(
    place: TreePlace,
    id: BlockId,
    content: BlockContent,
    retention?: CacheRetention,
  ): BlockId {
    const { tokens, start } = content;
    const found = this.#tree.find(place, tokens, start);
    if (found !== undefined) return found;
    invariant(
      place.parent === undefined || !this.#isIdle(place.parent),
      `block ${id} is cached below block ${place.parent}, which nobody holds`,
    );
    this.#pool.retain([id]);
    this.#tree.insert(place, tokens, start, id);
    this.#policy.start(id);
    if (retention !== undefined) this.#policy.setRetention(id, retention);
    this.#listener?.stored({
      key: this.#tree.keyOf(id),
      parentKey: this.#tree.parentKeyOf(id),
      tokens: this.#tree.tokensOf(id).slice(),
      scope: place.scope,
      group: 0,
    });
    return id;
  }

  /** Forgets everything and takes all pins back; no table or copy may hold a cached block. */
  clear(): void {
    this.pins.removeAll();
    const numInUse = this.numCached - this.numIdle;
    invariant(numInUse === 0, `${numInUse} of ${this.numCached} cached blocks are in use`);
    this.#numReset += this.numIdle;
    while (this.numIdle > 0) this.#pool.release([this.#drop(this.#policy.next())]);
    this.#evicted.clear();
    this.#listener?.cleared();
  }

  /**
   * Makes block `id` and all below it unfindable; holders keep them. O(1) for a leaf or O(pool).
   */
  forget(id: BlockId): void {
    const blocks = this.#tree.subtreeOf(id);
    this.#numReset += blocks.length;
    this.#listener?.removed({ keys: blocks.map((block) => this.#tree.keyOf(block)), group: 0 });
    for (const block of blocks) {
      if (this.#isIdle(block)) this.#drop(block);
      else this.#tree.remove(block);
      this.#pool.release([block]);
    }
  }

  /** Evicts `count` idle blocks, in the policy's order; there must be as many. */
  evict(count: number): void {
    this.#pool.release(this.#evict(count));
  }

  /** Takes the pool's new size and the blocks' new ids; what is cached stays so. O(pool). */
  resize(remap: BlockRemap): void {
    this.#tree.resize(remap);
    this.#policy.resize(remap);
    this.pins.resize(remap);
  }

  /** Adds the references of cache and pins to `counts`, one entry per block; for audits. */
  countReferences(counts: Uint32Array): void {
    for (let id = 0; id < counts.length; id++) if (this.#tree.has(id)) counts[id]!++;
    this.pins.countReferences(counts);
  }

  /** Audit: tree and policy are whole, and a holder of a block holds what is above it. O(pool). */
  checkIntegrity(): void {
    this.#tree.checkIntegrity();
    let numIdle = 0;
    for (let id = 0; id < this.#pool.numBlocks; id++) {
      if (!this.#tree.has(id)) continue;
      const parent = this.#tree.parentOf(id);
      const isIdle = this.#isIdle(id);
      if (isIdle) numIdle++;
      const isHeldAbove = isIdle || parent === undefined || !this.#isIdle(parent);
      invariant(isHeldAbove, `block ${id} is held, and block ${parent} above it is not`);
    }
    invariant(numIdle === this.#numIdle, `${numIdle} blocks are idle, counted ${this.#numIdle}`);
    this.#policy.checkIntegrity(numIdle);
  }

  #isIdle(id: BlockId): boolean {
    return this.#tree.has(id) && this.#pool.refCount(id) === 1;
  }

  /**
   * Takes `count` idle blocks out of the cache, in the policy's order: the reference that the cache
   * had to each is the caller's.
   */
  #evict(count: number): BlockId[] {
    const ids: BlockId[] = [];
    const keys: BlockKey[] = [];
    while (ids.length < count) {
      const id = this.#policy.next();
      if (this.#listener !== undefined) keys.push(this.#tree.keyOf(id));
      this.#evicted.add(this.#tree.hashOf(id));
      ids.push(this.#drop(id));
    }
    this.#numEvicted += count;
    if (keys.length > 0) this.#listener?.removed({ keys, group: 0 });
    return ids;
  }

  /** Takes an idle leaf out of the cache, and returns it with the reference that the cache had. */
  #drop(id: BlockId): BlockId {
    const parent = this.#tree.parentOf(id);
    this.#policy.remove(id);
    this.#numIdle--;
    this.#tree.remove(id);
    if (parent !== undefined && this.#tree.isLeaf(parent) && this.#isIdle(parent)) {
      this.#policy.becomeLeaf(parent);
    }
    return id;
  }
}
