import { invariant } from "../base/invariant.ts";
import { OutOfBlocksError } from "../core/errors.ts";
import type { BlockId, SequenceId } from "../core/ids.ts";
import { numBlocksForTokens } from "../core/kv_layout.ts";
import type { Admission, AdmissionOptions, BlockManagerOptions, Fork } from "./admission.ts";
import { BlockPool, type BlockSource } from "./block_pool.ts";
import type { DecisionListener } from "./cache_listener.ts";
import { CachedPath, type CachingOptions, SHARED_SCOPE } from "./cached_path.ts";
import type { PinnedPrefixes } from "./pinned_prefixes.ts";
import { PrefixCache } from "./prefix_cache.ts";

/** What one admitted sequence holds. */
interface Holding {
  readonly table: BlockId[];
  /** Absent without a prefix cache. */
  readonly path: CachedPath | undefined;
}

/**
 * The door of the KV cache: gives each admitted sequence a block table and takes it back.
 *
 * A block table lists the blocks of one sequence in order of position: position `p` lies in entry
 * `floor(p / blockSize)`. A table only ever grows, at its end, until it is freed whole; so a plan
 * that carries it stays true. The manager owns the tables and one reference to each block in them;
 * nobody else allocates. Whole blocks may be in several tables, and then nobody writes them again.
 *
 * Every operation costs O(blocks moved or looked up), never O(pool).
 */
export class BlockManager {
  readonly blockSize: number;
  readonly #numWatermarkBlocks: number;
  readonly #pool: BlockPool;
  readonly #cache: PrefixCache | undefined;
  /** Whom blocks are taken from and given back to. */
  readonly #source: BlockSource;
  readonly #onDecision: DecisionListener | undefined;
  readonly #holdings = new Map<SequenceId, Holding>();
  /**
   * For each copy that the step in flight carries out, its source and the blocks before that; one
   * reference each.
   */
  #copySources: (readonly BlockId[])[] = [];

  constructor(options: BlockManagerOptions) {
    const { numBlocks, blockSize, prefixCache } = options;
    this.blockSize = blockSize;
    this.#numWatermarkBlocks = options.numWatermarkBlocks ?? Math.floor(numBlocks / 100);
    this.#pool = new BlockPool(numBlocks);
    this.#cache = prefixCache && new PrefixCache(this.#pool, blockSize, prefixCache);
    this.#source = this.#cache ?? this.#pool;
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

  /** Blocks evicted from the prefix cache so far. */
  get numEvicted(): number {
    return this.#cache?.numEvicted ?? 0;
  }

  /** Sequences with a block table. */
  get numTables(): number {
    return this.#holdings.size;
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
   * How many leading tokens an admission would find computed. The last token is never among them: it
   * must be computed to draw its successor.
   */
  numTokensCached(tokens: Uint32Array, scope: string = SHARED_SCOPE): number {
    return this.#match(tokens, scope).length * this.blockSize;
  }

  /**
   * Gives sequence `id` a table that covers `tokens`, beginning with the cached blocks of its longest
   * known prefix, or undefined and nothing.
   */
  tryAdmit(
    id: SequenceId,
    tokens: Uint32Array,
    options: AdmissionOptions = {},
  ): Admission | undefined {
    const found = this.#match(tokens, options.scope ?? SHARED_SCOPE);
    // Found blocks that are idle now are no room any more once they are held.
    const numIdleFound = this.#cache?.countIdle(found) ?? 0;
    const numNew = this.numBlocksFor(tokens.length) - found.length;
    if (!this.#hasRoom(id, numNew + (options.numReserved ?? 0), numIdleFound)) return undefined;
    this.#source.retain(found);
    this.#cache?.noteHit(found, options.retention);
    if (found.length > 0) {
      this.#onDecision?.({ type: "hit", sequenceId: id, numBlocks: found.length });
    }
    const table = [...found, ...this.#allocate(id, numNew)];
    const numCachedTokens = found.length * this.blockSize;
    this.#admit(
      id,
      { table, path: this.#pathFrom(found, options) },
      tokens.length,
      numCachedTokens,
    );
    return { numCachedTokens, isLookup: this.isSearched };
  }

  /**
   * Gives sequence `id` a table that shares the whole blocks of another's first `numShared` positions,
   * or undefined and nothing. The block that those positions fill in part is copied, since both
   * sequences write into theirs.
   */
  tryFork(id: SequenceId, fork: Fork, options: CachingOptions = {}): Admission | undefined {
    const { table: source } = this.#holding(fork.source);
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
    const admission = { numCachedTokens: numShared, isLookup: false };
    if (numCopied === 0) return admission;
    const copySource = source.slice(0, numBlocks + 1);
    this.#source.retain(copySource);
    this.#copySources.push(copySource);
    const copy = { from: copySource.at(-1)!, to: table[numBlocks]!, numTokens: numCopied };
    this.#onDecision?.({ type: "copy", sequenceId: id, ...copy });
    return { ...admission, copy };
  }

  /** Whether sequences that run can get `count` more blocks among them. */
  canGrow(count: number): boolean {
    return count <= this.#source.numAvailable;
  }

  /** Makes the table of sequence `id` cover at least `numTokens` positions, or changes nothing. */
  tryExtend(id: SequenceId, numTokens: number): boolean {
    const { table } = this.#holding(id);
    const numMissing = this.numBlocksFor(numTokens) - table.length;
    if (numMissing <= 0) return true;
    try {
      table.push(...this.#allocate(id, numMissing));
      return true;
    } catch (error) {
      if (error instanceof OutOfBlocksError) return false;
      throw error;
    }
  }

  /**
   * Notes that the KV of the first `numComputedTokens` of `tokens` is in the blocks of sequence `id`,
   * so that others may find those that are full.
   */
  markComputed(id: SequenceId, tokens: Uint32Array, numComputedTokens: number): void {
    const { table, path } = this.#holding(id);
    path?.extend(table, tokens, numComputedTokens);
  }

  /** Notes that the copies asked for so far have been carried out. */
  markCopied(): void {
    for (const blocks of this.#copySources) this.#source.release(blocks);
    this.#copySources = [];
  }

  /**
   * The block table of sequence `id`, as it grows: later calls of `tryExtend` append to the same list,
   * and `free` leaves it as it was.
   */
  blockTable(id: SequenceId): readonly BlockId[] {
    return this.#holding(id).table;
  }

  /** Takes the table of sequence `id` back; its blocks stay cached, or are free. */
  free(id: SequenceId, reason: "free" | "preempt" = "free"): void {
    const { table, path } = this.#holding(id);
    this.#source.release(path?.end(table) ?? table);
    this.#holdings.delete(id);
    this.#onDecision?.({ type: reason, sequenceId: id, numBlocks: table.length });
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
    const numHolders = new Uint32Array(this.numBlocks);
    for (const [id, { table }] of this.#holdings) {
      invariant(new Set(table).size === table.length, `sequence ${id} holds a block twice`);
      for (const block of table) numHolders[block]!++;
    }
    for (const block of this.#copySources.flat()) numHolders[block]!++;
    this.#cache?.countReferences(numHolders);
    const wrong = numHolders.findIndex((count, block) => count !== this.#pool.refCount(block));
    invariant(wrong < 0, `block ${wrong} has ${numHolders[wrong]} holders, not what it counts`);
    this.#cache?.checkIntegrity();
  }

  #match(tokens: Uint32Array, scope: string): readonly BlockId[] {
    return this.#cache?.match(scope, tokens, tokens.length - 1) ?? [];
  }

  /**
   * Whether an admission may take `numNeeded` blocks, when `numIdleFound` of those that could be
   * evicted are its own.
   *
   * The watermark does not apply to the first: nobody else could grow into those blocks, and a
   * sequence that needs the whole pool would wait for ever.
   */
  #hasRoom(id: SequenceId, numNeeded: number, numIdleFound: number): boolean {
    invariant(!this.#holdings.has(id), `sequence ${id} has a block table already`);
    const numKept = this.#holdings.size === 0 ? 0 : this.#numWatermarkBlocks;
    if (numNeeded <= this.#source.numAvailable - numIdleFound - numKept) return true;
    const { numFree } = this;
    const numEvictable = this.numCached - numIdleFound;
    this.#onDecision?.({
      type: "wait",
      sequenceId: id,
      reason: "blocks",
      numNeeded,
      numFree,
      numEvictable,
    });
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

  #admit(id: SequenceId, holding: Holding, numTokens: number, numCachedTokens: number): void {
    this.#holdings.set(id, holding);
    this.#onDecision?.({ type: "admit", sequenceId: id, numTokens, numCachedTokens });
  }

  #pathFrom(found: readonly BlockId[], options: CachingOptions): CachedPath | undefined {
    return this.#cache && new CachedPath(this.#cache, found, options);
  }

  #holding(id: SequenceId): Holding {
    const holding = this.#holdings.get(id);
    invariant(holding !== undefined, `sequence ${id} has no block table`);
    return holding;
  }
}
