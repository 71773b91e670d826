import { invariant, InvariantError } from "../base/invariant.ts";
import type { BlockId, SequenceId } from "../core/ids.ts";
import { numBlocksForTokens } from "../core/kv_layout.ts";
import type { Admission, AdmissionOptions, BlockManagerOptions, Fork } from "./admission.ts";
import { BlockPool, type BlockSource } from "./pool/block_pool.ts";
import { checkTables } from "./tables/block_audit.ts";
import type { DecisionListener } from "./prefix/cache_listener.ts";
import { CachedPath, type CachingOptions, SHARED_SCOPE } from "./tables/cached_path.ts";
import { CopySources } from "./tables/copy_sources.ts";
import type { SequenceBlocks } from "./tables/sequence_blocks.ts";
import type { PinnedPrefixes } from "./prefix/pinned_prefixes.ts";
import { checkPoolSize, type PoolResize, resizePool } from "./pool_resize.ts";
import { PrefixCache } from "./prefix/prefix_cache.ts";

/**
 * The door of the KV cache: gives each admitted sequence a block table and takes it back.
 *
 * A block table lists the blocks of one sequence in order of position: position `p` lies in entry
 * `floor(p / blockSize)`. A table grows at its end until it is freed whole, by a new list each
 * time, so a plan keeps its own. The manager owns one reference to each block in a table; nothing
 * else allocates. Whole blocks may be in several tables, and then no sequence writes them again.
 *
 * Every operation but a resize costs O(blocks moved or looked up), never O(pool).
 */
export class BlockManager {
  readonly blockSize: number;
  /** Absent: a share of the pool. */
  readonly #fixedWatermark: number | undefined;
  readonly #pool: BlockPool;
  readonly #cache: PrefixCache | undefined;
  /** The cache where there is one, else the pool. */
  readonly #source: BlockSource;
  readonly #onDecision: DecisionListener | undefined;
  readonly #sequences = new Map<SequenceId, SequenceBlocks>();
  readonly #copySources: CopySources;

  constructor(options: BlockManagerOptions) {
    const { numBlocks, blockSize, prefixCache } = options;
    this.blockSize = blockSize;
    this.#fixedWatermark = options.numWatermarkBlocks;
    this.#pool = new BlockPool(numBlocks);
    this.#cache = prefixCache && new PrefixCache(this.#pool, blockSize, prefixCache);
    this.#source = this.#cache ?? this.#pool;
    this.#copySources = new CopySources(this.#source);
    this.#onDecision = options.onDecision;
  }

  /** Blocks in the pool. */
  get numBlocks(): number {
    return this.#pool.numBlocks;
  }

  /** Blocks that hold nothing. */
  get numFree(): number {
    return this.#pool.numFree;
  }

  /** Blocks that the prefix cache alone holds and that can be evicted. */
  get numCached(): number {
    return this.#cache?.numIdle ?? 0;
  }

  /** Blocks that tables, pins or copies need. */
  get numInUse(): number {
    return this.numBlocks - this.numFree - this.numCached;
  }

  /** Blocks evicted from the prefix cache so far, to make room. */
  get numEvicted(): number {
    return this.#cache?.numEvicted ?? 0;
  }

  /** Blocks dropped from the prefix cache so far, because it was cleared. */
  get numReset(): number {
    return this.#cache?.numReset ?? 0;
  }

  /** Sequences with a block table. */
  get numTables(): number {
    return this.#sequences.size;
  }

  /** Whether an admission may find blocks of earlier sequences. */
  get isSearched(): boolean {
    return this.#cache?.isSearched ?? false;
  }

  /** The pinned prefixes; undefined without a prefix cache. */
  get pins(): PinnedPrefixes | undefined {
    return this.#cache?.pins;
  }

  /** Blocks that `numTokens` positions take. */
  numBlocksFor(numTokens: number): number {
    return numBlocksForTokens(numTokens, this.blockSize);
  }

  /**
   * How many leading tokens an admission would find computed. The last token is never among them:
   * it must be computed to draw its successor.
   */
  numTokensCached(tokens: Uint32Array, scope: string = SHARED_SCOPE): number {
    return this.#match(tokens, scope).length * this.blockSize;
  }

  /** Blocks that an admission of `tokens` would lack now; 0 when it would be given a table. */
  numBlocksMissing(tokens: Uint32Array, options: AdmissionOptions = {}): number {
    const found = this.#match(tokens, options.scope ?? SHARED_SCOPE);
    const numNew = this.numBlocksFor(tokens.length) - found.length + (options.numReserved ?? 0);
    return Math.max(0, numNew - this.#numAdmissible(this.#cache?.countIdle(found) ?? 0));
  }

  /**
   * Gives sequence `id` a table that covers `tokens`, beginning with the cached blocks of its
   * longest known prefix, or undefined and nothing.
   */
  tryAdmit(
    id: SequenceId,
    tokens: Uint32Array,
    options: AdmissionOptions = {},
  ): Admission | undefined {
    const scope = options.scope ?? SHARED_SCOPE;
    const found = this.#match(tokens, scope);
    // Found blocks that are idle now are no room any more once they are held.
    const numIdleFound = this.#cache?.countIdle(found) ?? 0;
    const numNew = this.numBlocksFor(tokens.length) - found.length;
    if (!this.#hasRoom(id, numNew + (options.numReserved ?? 0), numIdleFound)) return undefined;
    const numEvictedTokens = this.#cache?.countEvicted(scope, tokens, found) ?? 0;
    this.#source.retain(found);
    this.#cache?.noteHit(found, options.retention);
    if (found.length > 0) {
      this.#onDecision?.({ type: "hit", sequenceId: id, numBlocks: found.length });
    }
    const table = [...found, ...this.#allocate(id, numNew)];
    const numCachedTokens = found.length * this.blockSize;
    const path = this.#pathFrom(found, options);
    this.#admit(id, { table, path }, tokens.length, numCachedTokens);
    return { numCachedTokens, numEvictedTokens, isLookup: this.isSearched };
  }

  /**
   * Gives sequence `id` a table that shares the whole blocks of another's first `numShared`
   * positions, or undefined and nothing. The block that those positions fill in part is copied,
   * since both sequences write into theirs.
   */
  tryFork(id: SequenceId, fork: Fork, options: CachingOptions = {}): Admission | undefined {
    const { table: source } = this.#blocksOf(fork.source);
    const { numTokens, numShared = numTokens - 1, isGrowth = false } = fork;
    const numBlocks = Math.floor(numShared / this.blockSize);
    const numCopied = numShared % this.blockSize;
    const numNew = this.numBlocksFor(numTokens) - numBlocks;
    if (!(isGrowth ? this.canGrow(numNew) : this.#hasRoom(id, numNew, 0))) return undefined;
    const shared = source.slice(0, numBlocks);
    this.#source.retain(shared);
    const table = [...shared, ...this.#allocate(id, numNew)];
    const path = this.#pathFrom([], options);
    this.#admit(id, { table, path }, numTokens, numShared);
    const admission = { numCachedTokens: numShared, numEvictedTokens: 0, isLookup: false };
    if (numCopied === 0) return admission;
    this.#copySources.hold(source.slice(0, numBlocks + 1));
    const copy = { from: source[numBlocks]!, to: table[numBlocks]!, numTokens: numCopied };
    this.#onDecision?.({ type: "copy", sequenceId: id, ...copy });
    return { ...admission, copy: { group: 0, ...copy } };
  }

  /** Whether sequences that run can get `count` more blocks among them. */
  canGrow(count: number): boolean {
    return count <= this.#source.numAvailable;
  }

  /** Makes the table of sequence `id` cover at least `numTokens` positions, or changes nothing. */
  tryExtend(id: SequenceId, numTokens: number): boolean {
    const sequence = this.#blocksOf(id);
    const numMissing = this.numBlocksFor(numTokens) - sequence.table.length;
    if (numMissing > this.#source.numAvailable) return false;
    if (numMissing > 0) sequence.table = sequence.table.concat(this.#allocate(id, numMissing));
    return true;
  }

  /**
   * Notes that the KV of the first `numComputedTokens` of `tokens` is in the blocks of sequence
   * `id`, so that others may find those that are full.
   */
  markComputed(id: SequenceId, tokens: Uint32Array, numComputedTokens: number): void {
    const { table, path } = this.#blocksOf(id);
    path?.extend(table, tokens, numComputedTokens);
  }

  /** Notes that the copies asked for so far have been carried out. */
  markCopied(): void {
    this.#copySources.release();
  }

  /**
   * The block table of sequence `id` as it is now. The list never changes; as long as the table
   * does not either, it is the same list.
   */
  blockTable(id: SequenceId): readonly BlockId[] {
    return this.#blocksOf(id).table;
  }

  /** Takes the table of sequence `id` back; its blocks stay cached, or are free. */
  free(id: SequenceId, reason: "free" | "preempt" = "free"): void {
    const { table, path } = this.#blocksOf(id);
    this.#source.release(path?.end(table) ?? table);
    this.#sequences.delete(id);
    this.#onDecision?.({ type: reason, sequenceId: id, numBlocks: table.length });
  }

  /**
   * Frees sequence `id`, of whose `tokens` the first `numSound` have sound KV: what it has filled
   * is not cached any more, nor what its tokens find beyond those, nor what hangs below. O(pool).
   */
  discard(id: SequenceId, tokens: Uint32Array, numSound: number): void {
    const { table, path } = this.#blocksOf(id);
    path?.forget(table, tokens, Math.floor(numSound / this.blockSize));
    this.free(id);
  }

  /**
   * Gives the pool `numBlocks` blocks, between two steps. Where that is fewer, cached blocks are
   * evicted as needed and the rest moves below the new end; the device has to follow. O(pool).
   *
   * @throws {RequestError} with the numbers (409) when more are in use, or more are pinned than may
   * be in that size. Nothing has changed.
   */
  resize(numBlocks: number): PoolResize {
    checkPoolSize(numBlocks, this);
    const held = { copySources: this.#copySources, sequences: this.#sequences.values() };
    return resizePool(numBlocks, { pool: this.#pool, cache: this.#cache, ...held });
  }

  /** Forgets all cached blocks and pins; no sequence may have a table. */
  clearCache(): void {
    const { numTables } = this;
    invariant(numTables === 0, `the cache is cleared while ${numTables} sequences hold blocks`);
    this.#cache?.clear();
  }

  /**
   * Audit: every block's count equals the number of tables, copies and pins that hold it, plus one
   * if it is cached; so free, idle and held blocks add up to the pool. O(pool + tables).
   */
  checkIntegrity(): void {
    this.#pool.checkIntegrity();
    checkTables(this.#pool, this.#sequences, [this.#copySources, this.#cache]);
    this.#cache?.checkIntegrity();
  }

  #match(tokens: Uint32Array, scope: string): readonly BlockId[] {
    return this.#cache?.match(scope, tokens, tokens.length - 1) ?? [];
  }

  /**
   * Blocks that an admission may take on top of the `numIdleFound` idle ones that it has found.
   *
   * The watermark does not apply to the first table: no other sequence could grow into those
   * blocks, and one that needs the whole pool would wait for ever.
   */
  #numAdmissible(numIdleFound: number): number {
    const watermark = this.#fixedWatermark ?? Math.floor(this.numBlocks / 100);
    const numKept = this.#sequences.size === 0 ? 0 : watermark;
    return this.#source.numAvailable - numIdleFound - numKept;
  }

  /** Whether an admission may take `numNeeded` blocks; tells why it waits if it may not. */
  #hasRoom(id: SequenceId, numNeeded: number, numIdleFound: number): boolean {
    invariant(!this.#sequences.has(id), `sequence ${id} has a block table already`);
    if (numNeeded <= this.#numAdmissible(numIdleFound)) return true;
    const wait = { type: "wait", sequenceId: id, reason: "blocks" } as const;
    const numEvictable = this.numCached - numIdleFound;
    this.#onDecision?.({ ...wait, numNeeded, numFree: this.numFree, numEvictable });
    return false;
  }

  #allocate(id: SequenceId, count: number): BlockId[] {
    const { numEvicted } = this;
    const blocks = this.#source.allocate(count);
    const numBlocks = this.numEvicted - numEvicted;
    if (numBlocks > 0) this.#onDecision?.({ type: "evict", sequenceId: id, numBlocks });
    if (count > 0) this.#onDecision?.({ type: "allocate", sequenceId: id, numBlocks: count });
    return blocks;
  }

  #admit(id: SequenceId, blocks: SequenceBlocks, numTokens: number, numCachedTokens: number): void {
    this.#sequences.set(id, blocks);
    this.#onDecision?.({ type: "admit", sequenceId: id, numTokens, numCachedTokens });
  }

  #pathFrom(found: readonly BlockId[], options: CachingOptions): CachedPath | undefined {
    return this.#cache && new CachedPath(this.#cache, found, options);
  }

  #blocksOf(id: SequenceId): SequenceBlocks {
    const blocks = this.#sequences.get(id);
    if (blocks === undefined) throw new InvariantError(`sequence ${id} has no block table`);
    return blocks;
  }
}
