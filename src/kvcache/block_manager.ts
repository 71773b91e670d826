import { invariant } from "../base/invariant.ts";
import type { BlockCopy } from "../core/batch.ts";
import { type CacheSpec, ONE_FULL_GROUP } from "../core/cache_group.ts";
import type { BlockMap, TreeView } from "../core/engine_view.ts";
import type { BlockId, SequenceId } from "../core/ids.ts";
import type { PreemptCause } from "../core/kv_decision.ts";
import type { Admission, AdmissionOptions, BlockManagerOptions, Fork } from "./admission.ts";
import { mapBlocks } from "./block_map.ts";
import { createPool } from "./pool/create_pool.ts";
import type { BlockSource, Demand, Pool } from "./pool/pool.ts";
import { PoolCapacity } from "./pool_capacity.ts";
import { checkPoolSize, type PoolResize, resizePool } from "./pool_resize.ts";
import type { DecisionListener } from "./prefix/cache_listener.ts";
import type { ContentKey } from "./prefix/encoder_entry.ts";
import type { PinnedPrefixes } from "./prefix/pinned_prefixes.ts";
import { type CachedLength, PrefixCache } from "./prefix/prefix_cache.ts";
import type { PathName } from "./prefix/tree_view.ts";
import { SequenceAllocator } from "./sequence_allocator.ts";
import { checkTables } from "./tables/block_audit.ts";
import { CopyQueue } from "./tables/copy_queue.ts";
import { type BlockTables, liveBlocksOf } from "./tables/block_tables.ts";
import { type EncoderInput, scopeWithInputs } from "./tables/encoder_inputs.ts";
import { type CachingOptions, OPEN_SCOPE } from "./tables/sequence_path.ts";
import { StateSnapshots } from "./tables/state_snapshots.ts";
import { swapContents } from "./tables/swap_tables.ts";
import { type SwapContents, SwapStore } from "./swap/swap_store.ts";

/**
 * The one entry of the KV cache: gives each admitted sequence a block table per group and takes
 * them back.
 *
 * A block table lists the blocks of one sequence in order of position: position `p` lies in entry
 * `floor(p / blockSize)`. A table grows at its end, as a new list each time, so that a plan keeps
 * its own, until it is freed whole. The manager owns one reference to each block in a table;
 * nothing else allocates. Whole blocks may be in several tables, and then no sequence writes them
 * again.
 *
 * Sizes of the pool, what is free, cached and in use, are counted in slabs; where slabs are not
 * cut, these are blocks. Every operation but a resize costs O(blocks moved or looked up), never
 * O(pool).
 */
export class BlockManager {
  readonly blockSize: number;
  readonly cacheGroups: readonly CacheSpec[];
  /** Whether slabs are cut into several blocks of a group. */
  readonly isCut: boolean;
  readonly #pool: Pool;
  readonly #cache: PrefixCache | undefined;
  /** The cache where there is one, else the pool. */
  readonly #blockSource: BlockSource;
  readonly #onDecision: DecisionListener | undefined;
  readonly #capacity: PoolCapacity;
  readonly #copies: CopyQueue;
  readonly #allocator: SequenceAllocator;
  readonly #snapshots: StateSnapshots | undefined;
  /** Blocks of preempted sequences in host memory; undefined where there is none. */
  readonly swap: SwapStore | undefined;

  constructor(options: BlockManagerOptions) {
    const { numBlocks: numSlabs, blockSize, prefixCache, groups = ONE_FULL_GROUP } = options;
    const { blocksPerSlab = groups.map(() => 1), maxInFlightTokens = Infinity } = options;
    this.blockSize = blockSize;
    this.cacheGroups = groups;
    const grain = { blockSize, maxInFlightTokens };
    this.#pool = createPool(numSlabs, blocksPerSlab);
    this.#cache = prefixCache && new PrefixCache(this.#pool, blockSize, prefixCache, groups);
    this.#blockSource = this.#cache ?? this.#pool;
    const shared = { groups, grain, pool: this.#pool, blockSource: this.#blockSource };
    const watermark = options.numWatermarkBlocks;
    this.#capacity = new PoolCapacity({ ...shared, blocksPerSlab, watermark });
    this.isCut = this.#capacity.isCut;
    this.#copies = new CopyQueue(this.#blockSource);
    this.#onDecision = options.onDecision;
    const { swapSpace } = options;
    this.swap = swapSpace && new SwapStore(swapSpace, blocksPerSlab);
    this.#allocator = new SequenceAllocator({
      ...shared,
      swap: this.swap,
      cache: this.#cache,
      capacity: this.#capacity,
      copies: this.#copies,
      snapshotInterval: options.stateSnapshotInterval,
      onDecision: options.onDecision,
    });
    this.#snapshots = this.#cache?.columns && new StateSnapshots(this.#cache, this.#copies);
  }

  /** Slabs in the pool: blocks, as users are told, where slabs are not cut. */
  get numBlocks(): number {
    return this.#pool.numSlabs;
  }

  /** Slabs that hold nothing. */
  get numFree(): number {
    return this.#pool.numFree;
  }

  /** Slabs that the prefix cache alone holds and that can be evicted. */
  get numIdle(): number {
    return this.#pool.numIdle;
  }

  /** Slabs that tables, pins or copies need. */
  get numInUse(): number {
    return this.numBlocks - this.numFree - this.numIdle;
  }

  /** Blocks evicted from the prefix cache so far, to make room. */
  get numEvicted(): number {
    return this.#cache?.numEvicted ?? 0;
  }

  /** Blocks dropped from the prefix cache so far, because it was cleared. */
  get numReset(): number {
    return this.#cache?.numReset ?? 0;
  }

  /** Sequences with block tables. */
  get numSequences(): number {
    return this.#allocator.sequences.size;
  }

  /** Whether an admission may find blocks of earlier sequences. */
  get canHit(): boolean {
    return this.#cache?.canHit ?? false;
  }

  /** The pinned prefixes; undefined without a prefix cache. */
  get pins(): PinnedPrefixes | undefined {
    return this.#cache?.pins;
  }

  /** Slabs that a sequence of `numTokens` positions fills with its inputs, when it holds most. */
  numSlabsOf(numTokens: number, inputs?: readonly EncoderInput[]): number {
    return this.#capacity.numSlabsOf(numTokens, inputs);
  }

  /** Tokens of one sequence that would fit if it had the pool alone; perhaps without limit. */
  get numPoolTokens(): number {
    return this.#capacity.numTokens;
  }

  /** Slabs that `width` beams fill at least, each with a block of its own behind the prompt's. */
  numSlabsOfSearch(numPromptTokens: number, width: number): number {
    return this.#capacity.numSlabsOfSearch(numPromptTokens, width);
  }

  /** Slabs that so many blocks fill. */
  numSlabsFor(demand: Demand): number {
    return this.#pool.numSlabsFor(demand);
  }

  /** Slabs that the blocks of sequence `id` fill, those included that others hold too. */
  numHeldBy(id: SequenceId): number {
    const counts = this.cacheGroups.map(() => 0);
    for (const { group, blocks } of this.#allocator.blocksOf(id).held()) {
      counts[group]! += blocks.length;
    }
    return this.#pool.numSlabsFor(counts);
  }

  /** Blocks that a fork of `numTokens` tokens takes which shares the first `numShared`. */
  forkDemand(numTokens: number, numShared: number): Demand {
    return this.#capacity.forkDemand(numTokens, numShared);
  }

  /** Blocks that sequence `id` lacks to cover `numTokens` positions. */
  extensionDemand(id: SequenceId, numTokens: number): Demand {
    return this.#capacity.extensionDemand(this.#allocator.blocksOf(id).tables, numTokens);
  }

  /** Slabs that running sequences lack to get so many more blocks; 0 or less where they do not. */
  numMissingToExtend(demand: Demand): number {
    return this.#capacity.countMissing(demand);
  }

  /** Whether sequences that run can get so many more blocks among them. */
  canExtend(demand: Demand): boolean {
    return this.numMissingToExtend(demand) <= 0;
  }

  /** Slabs that an admission of `tokens` would lack now; 0 when it would be given tables. */
  numMissingToAdmit(tokens: Uint32Array, options: AdmissionOptions = {}): number {
    return Math.max(0, this.#allocator.planAdmission(tokens, options).numMissing);
  }

  /**
   * Slabs that an admission leaves free: the watermark or `numHeadroomSlabs`, and none if it is
   * alone.
   */
  headroomFor(numHeadroomSlabs: number): number {
    return this.#capacity.headroomFor({
      isFirst: this.#allocator.sequences.size === 0,
      numHeadroomSlabs,
    });
  }

  /**
   * How many leading tokens an admission would find computed. The last token is never among them:
   * it must be computed to draw its successor. With inputs, only what was computed with the same.
   */
  numTokensCached(
    tokens: Uint32Array,
    scope: string = OPEN_SCOPE,
    inputs: readonly EncoderInput[] = [],
  ): number {
    const { nodes } = this.#allocator.lookUp(tokens, scopeWithInputs(scope, inputs));
    return nodes.length * this.blockSize;
  }

  /**
   * {@link numTokensCached} of a prompt that waits, and is asked about again and again: with one
   * group of full attention O(1) as long as nothing of its prefix comes or goes.
   */
  watchCached(tokens: Uint32Array, scope: string = OPEN_SCOPE): CachedLength {
    return this.#allocator.watch(tokens, scope);
  }

  /**
   * Gives sequence `id` tables that cover `tokens`, of a window as much as it holds at once; they
   * begin with the cached blocks of its longest known prefix. Undefined where there is no room, and
   * nothing has changed.
   */
  tryAdmit(
    id: SequenceId,
    tokens: Uint32Array,
    options: AdmissionOptions = {},
  ): Admission | undefined {
    return this.#allocator.tryAdmit(id, tokens, options);
  }

  /** Whether the first `numShared` positions of a sequence are still there for a fork. */
  canFork(source: SequenceId, numShared: number): boolean {
    const fork = { source, numTokens: numShared + 1, numShared };
    return this.#allocator.planFork(fork) !== undefined;
  }

  /**
   * Gives sequence `id` tables that share the whole blocks of another's first `numShared`
   * positions. The block that those positions fill in part is copied, since both sequences write
   * into theirs. Undefined where there is no room, and nothing has changed.
   */
  tryFork(id: SequenceId, fork: Fork, options: CachingOptions = {}): Admission | undefined {
    return this.#allocator.tryFork(id, fork, options);
  }

  /** Makes the tables of sequence `id` cover at least `numTokens` positions, or changes nothing. */
  tryExtend(id: SequenceId, numTokens: number): boolean {
    return this.#allocator.tryExtend(id, numTokens);
  }

  /**
   * The block tables of sequence `id` as they are now, one per group, by the ids of each group. A
   * list never changes; as long as a table does not either, it is the same list.
   */
  blockTables(id: SequenceId): BlockTables {
    const sequence = this.#allocator.blocksOf(id);
    return this.isCut ? sequence.tablesOf(this.#pool) : sequence.tables;
  }

  /**
   * Notes that the KV of the first `numComputedTokens` of `tokens` is in the blocks of sequence
   * `id`, and no step that computes it is in flight: others may find what is full of it, and what
   * nothing reads any more goes back.
   */
  markComputed(id: SequenceId, tokens: Uint32Array, numComputedTokens: number): void {
    const sequence = this.#allocator.blocksOf(id);
    sequence.numComputedTokens = numComputedTokens;
    sequence.path?.publish(sequence.tables, tokens, numComputedTokens);
    for (const dead of sequence.takeDead(this.cacheGroups, this.blockSize)) {
      this.#blockSource.release(dead);
    }
    sequence.path?.dropPassed();
    if (sequence.inputs) this.#blockSource.release(sequence.inputs.takePassed(numComputedTokens));
    this.#snapshots?.update(id, sequence);
  }

  /**
   * The blocks that hold an encoder's output for an input of sequence `id` in one group, in order,
   * by the ids of that group; undefined where it has no such input or nothing reads it any more. As
   * {@link publishInput}, for the first model with an encoder: no family in `models/` has one yet.
   */
  inputBlocks(id: SequenceId, group: number, key: ContentKey): readonly BlockId[] | undefined {
    const blocks = this.#allocator.blocksOf(id).inputs?.blocksOf(group, key);
    return this.isCut ? blocks?.map((block) => this.#pool.idInGroup(block, group)) : blocks;
  }

  /**
   * Notes that the output for an input of sequence `id` is in its blocks, once the step that makes
   * it is committed: only then can others find it, and forks share it. To be called before
   * {@link markComputed}, which gives embeddings back as soon as nothing reads them.
   */
  publishInput(id: SequenceId, key: ContentKey): void {
    this.#allocator.blocksOf(id).inputs?.publish(key);
  }

  /**
   * Frees what is held beside the tables and can be done without: states that are still to be
   * copied, and adopted blocks. Returns whether there was any. O(sequences).
   */
  reclaim(): boolean {
    let hasFreed = this.#snapshots?.drop() ?? false;
    for (const { path, tables } of this.#allocator.sequences.values()) {
      hasFreed = (path?.returnAdopted(tables) ?? false) || hasFreed;
    }
    return hasFreed;
  }

  /** Hands out the copies that keep states: the next step makes them before it computes. */
  takeCopies(): readonly BlockCopy[] {
    return this.#copies.drain().map(({ group, from, to }) => ({
      group,
      from: this.#pool.idInGroup(from, group),
      to: this.#pool.idInGroup(to, group),
      numTokens: this.blockSize,
    }));
  }

  /** Notes that the copies asked for so far have been carried out. */
  markCopied(): void {
    this.#copies.release();
    this.swap?.release();
  }

  /** What has to be copied of sequence `id` to host memory; undefined where it cannot go there. */
  swapContents(id: SequenceId): SwapContents | undefined {
    const sequence = this.#allocator.blocksOf(id);
    if (this.swap === undefined || sequence.inputs !== undefined) return undefined;
    const { cacheGroups: groups, blockSize } = this;
    return swapContents(sequence, { groups, blockSize, pool: this.#pool, cache: this.#cache });
  }

  /**
   * Takes the tables of sequence `id` back; its blocks stay cached, or are free.
   *
   * @param cause why it is preempted.
   */
  free(id: SequenceId, reason: "free" | "preempt" = "free", cause?: PreemptCause): void {
    const sequence = this.#allocator.blocksOf(id);
    const { tables, path, inputs, numHeld: numBlocks } = sequence;
    const held = path?.end(tables) ?? tables.map(liveBlocksOf);
    this.#snapshots?.end(sequence);
    for (const ids of held) this.#blockSource.release(ids);
    path?.close();
    // A later hit of the path needs these too, so they are evicted after it.
    for (const { blocks } of inputs?.held() ?? []) this.#blockSource.release(blocks);
    this.#pool.forgetSequence(id);
    this.#allocator.sequences.delete(id);
    const decision = { type: reason, sequenceId: id, numBlocks };
    this.#onDecision?.(cause === undefined ? decision : { ...decision, ...cause, type: "preempt" });
  }

  /**
   * Frees sequence `id` after a computation that has failed: the KV of its first `numSound` tokens
   * alone is sound. What it has filled leaves the cache, and so does what its tokens find behind
   * the sound ones, with everything below. O(pool).
   */
  discard(id: SequenceId, tokens: Uint32Array, numSound: number): void {
    const { tables, path, inputs } = this.#allocator.blocksOf(id);
    path?.forget(tables, tokens, Math.floor(numSound / this.blockSize));
    if (inputs) this.#cache?.forgetInputs(inputs, numSound);
    this.free(id);
  }

  /**
   * Gives the pool `numBlocks` slabs, between two steps. Where that is fewer, cached blocks are
   * evicted as needed and the rest moves below the new end; the device has to follow. O(pool).
   *
   * @throws {RequestError} with the numbers (409) when more are in use, or more are pinned than may
   * be in that size. Nothing has changed.
   */
  resize(numBlocks: number): PoolResize {
    checkPoolSize(numBlocks, this);
    const held = { copies: this.#copies, sequences: [...this.#allocator.sequences.values()] };
    return resizePool(numBlocks, { pool: this.#pool, cache: this.#cache, ...held });
  }

  /** What each block of the pool is now. O(pool + tables). */
  mapBlocks(): BlockMap {
    return mapBlocks({
      pool: this.#pool,
      cache: this.#cache,
      sequences: this.#allocator.sequences,
    });
  }

  /** As of {@link PrefixCache.viewTree}; undefined without a prefix cache. */
  viewTree(maxNumRuns: number): TreeView | undefined {
    return this.#cache?.viewTree(maxNumRuns);
  }

  /** As of {@link PrefixCache.tokensAlong}. */
  tokensAlong(path: PathName): Uint32Array | undefined {
    return this.#cache?.tokensAlong(path);
  }

  /** Forgets all cached blocks, pins and host memory; no sequence may have a table. */
  clearCache(): void {
    const { numSequences } = this;
    invariant(
      numSequences === 0,
      `the cache is cleared while ${numSequences} sequences hold blocks`,
    );
    this.#cache?.clear();
    this.swap?.clear();
  }

  /**
   * Audit: every block's count equals the number of tables, copies and pins that hold it, and it is
   * marked exactly if it is cached; so free, idle and held blocks add up to the pool. O(pool +
   * tables).
   */
  checkIntegrity(): void {
    this.#pool.checkIntegrity();
    checkTables(this.#pool, this.#allocator.sequences, [this.#copies, this.#cache]);
    this.#cache?.checkIntegrity();
    this.swap?.checkIntegrity();
    this.#cache?.checkPaths(this.#allocator.sequences.values().map(({ path }) => path));
  }
}
