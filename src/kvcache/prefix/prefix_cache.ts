import { invariant, InvariantError } from "../../base/invariant.ts";
import { type CacheSpec, NO_BLOCK, ONE_FULL_GROUP } from "../../core/cache_group.ts";
import { OutOfBlocksError } from "../../core/errors.ts";
import type { TreeView } from "../../core/engine_view.ts";
import type { CacheRetention } from "../../core/generation.ts";
import type { BlockId, SequenceId } from "../../core/ids.ts";
import type { EvictedPrefix } from "../../core/miss_report.ts";
import { BlockPool } from "../pool/block_pool.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { BlockNeed, BlockSource, Demand, Pool } from "../pool/pool.ts";
import { BlockKeyer } from "./block_key.ts";
import { checkCache, checkPaths, type PathNodes } from "./cache_audit.ts";
import type { CachedBlocks } from "./cached_blocks.ts";
import { CacheRecords } from "./cache_records.ts";
import { createEvictionPolicy } from "./create_eviction_policy.ts";
import { EncoderEntries } from "./encoder_entries.ts";
import type { EncoderEntry, EntryName } from "./encoder_entry.ts";
import { GroupNodes } from "./group_nodes.ts";
import { IdleOrder } from "./idle_order.ts";
import { LeafEviction } from "./leaf_eviction.ts";
import { type Hit, longestHit, noHit } from "./longest_hit.ts";
import { NodeBlocks } from "./node_blocks.ts";
import { NodeEviction } from "./node_eviction.ts";
import { PinnedPrefixes } from "./pinned_prefixes.ts";
import type { PrefixCacheOptions } from "./prefix_cache_options.ts";
import {
  type BlockContent,
  type NodeId,
  type PathEnd,
  RadixTree,
  type TreeParent,
} from "./radix_tree.ts";
import { holdersOfNodes, type PathName, tokensAlong, viewTree } from "./tree_view.ts";

/** How many leading tokens of a prompt are cached at the moment. */
export type CachedLength = () => number;

/** Share of the pool that may be pinned unless told otherwise. */
const DEFAULT_MAX_PINNED_SHARE = 0.5;

/** Tokens of a tail unless told otherwise: those of a step by default. */
const DEFAULT_NUM_TAIL_TOKENS = 512;

/**
 * Keeps blocks after the sequences that filled them, so that later prompts with the same beginning
 * find them.
 *
 * A block in the tree is marked in the pool. Any holder of a cached block of full attention holds
 * all blocks above it too; so one without references is **idle**, everything below it is idle as
 * well, and it can be evicted as soon as it is a leaf:
 *
 *     references   1    1    0    0         a sequence holds 1 and 2
 *                 [1]--[2]--[3]--[4]        3 and 4 are idle: 4 can be evicted, then 3
 *
 * With several groups, or one that keeps less, a node has a block per group or a tombstone ({@link
 * NodeBlocks}), and {@link groupNodes} is where these come and go.
 *
 * The policy has the idle blocks of all groups in one order. Free blocks are handed out before any
 * is evicted. Every operation costs O(blocks passed).
 */
export class PrefixCache implements BlockSource {
  /** Token positions per block. */
  readonly blockSize: number;
  readonly pins: PinnedPrefixes;
  /** Which block stands for which node; undefined where a node is its block. */
  readonly columns: NodeBlocks | undefined;
  /** What several groups do with nodes; there where {@link columns} is. */
  readonly groupNodes: GroupNodes | undefined;
  /** What is cached of the outputs of encoders; there where a group is one's. */
  readonly entries: EncoderEntries | undefined;
  readonly groups: readonly CacheSpec[];
  /** The groups that keep every position: each node has a block of each of them. */
  readonly fullGroups: readonly number[];
  readonly #pool: Pool;
  readonly #tree: RadixTree;
  readonly #idle: IdleOrder;
  readonly #records: CacheRecords;
  /** These four together, for the classes that work on them. */
  readonly #cached: CachedBlocks;
  readonly #eviction: LeafEviction | NodeEviction;
  readonly #forceMiss: boolean;
  /** Ms. */
  readonly #now: () => number;

  constructor(
    pool: Pool,
    blockSize: number,
    options: PrefixCacheOptions,
    groups: readonly CacheSpec[] = ONE_FULL_GROUP,
  ) {
    const { numBlocks } = pool;
    const { policy = "lru", now = () => performance.now() } = options;
    const isOneFull = groups.length === 1 && groups[0]!.kind === "full" &&
      pool instanceof BlockPool;
    this.blockSize = blockSize;
    this.groups = groups;
    this.#pool = pool;
    this.fullGroups = groups.flatMap(({ kind }, group) => kind === "full" ? [group] : []);
    this.columns = isOneFull ? undefined : new NodeBlocks(numBlocks, groups.length);
    const keyer = new BlockKeyer(options.keySpace);
    this.#tree = new RadixTree(isOneFull ? numBlocks : 1, blockSize, keyer);
    const order = createEvictionPolicy(policy, numBlocks, {
      now,
      parentOf: (id) => this.#parentOf(id),
      numTailBlocks: Math.floor((options.numTailTokens ?? DEFAULT_NUM_TAIL_TOKENS) / blockSize),
    });
    this.#idle = new IdleOrder(order, numBlocks, this.#tree, { groups, columns: this.columns });
    this.#records = new CacheRecords(this.#tree, keyer, { listener: options.listener, now });
    this.#cached = { pool, tree: this.#tree, idle: this.#idle, records: this.#records };
    if (this.columns === undefined) this.#eviction = new LeafEviction(this.#cached);
    else {
      const hasEncoder = groups.some(({ kind }) => kind === "encoder");
      this.entries = hasEncoder ? new EncoderEntries(this.#cached) : undefined;
      const grouped = { ...this.#cached, groups, columns: this.columns };
      this.#eviction = new NodeEviction(grouped, this.entries);
      this.groupNodes = new GroupNodes(grouped, this.#eviction);
    }
    this.#now = now;
    this.#forceMiss = options.forceMiss ?? false;
    const maxPinnedShare = options.maxPinnedShare ?? DEFAULT_MAX_PINNED_SHARE;
    this.pins = new PinnedPrefixes(this, maxPinnedShare, pool.numSlabs);
  }

  /** Whether look-ups can find anything. */
  get canHit(): boolean {
    return !this.#forceMiss;
  }

  /** Nodes of the tree, those in use included; with one group of full attention, blocks. */
  get numNodes(): number {
    return this.#tree.numNodes;
  }

  /** Blocks evicted so far to make room. */
  get numEvicted(): number {
    return this.#records.numEvicted;
  }

  /** Blocks dropped so far by {@link clear} and {@link forget}. */
  get numReset(): number {
    return this.#records.numReset;
  }

  /** Slabs that are free or can be made so. */
  get numAvailable(): number {
    return this.#pool.numFree + this.#pool.numIdle;
  }

  /**
   * The nodes that `tokens` lead along, in order of position, as many as lie whole within
   * `[0, limit)`: with one group of full attention these are the cached blocks. Changes nothing.
   */
  match(scope: string, tokens: Uint32Array, limit: number): NodeId[] {
    return this.#forceMiss ? [] : this.#tree.match(scope, tokens, limit);
  }

  /**
   * The longest hit of `tokens[0, limit)` that every group accepts. Changes nothing; retain its
   * blocks before anything is allocated.
   */
  lookUp(scope: string, tokens: Uint32Array, limit: number): Hit {
    const path = this.match(scope, tokens, limit);
    const { columns } = this;
    if (columns === undefined) return { nodes: path, blocks: [path], numKnown: path.length };
    if (path.length === 0) return noHit(this.groups.length);
    return longestHit(this.groups, path, columns, this.blockSize);
  }

  /**
   * How much of `tokens[0, limit)` every group accepts, in tokens, each time that it is asked. With
   * one group of full attention it costs what has changed since ({@link RadixTree.follow}), else
   * as much as {@link lookUp}.
   */
  watch(scope: string, tokens: Uint32Array, limit: number): CachedLength {
    if (this.columns !== undefined) {
      return () => this.lookUp(scope, tokens, limit).nodes.length * this.blockSize;
    }
    let end: PathEnd | undefined;
    return () => {
      if (!this.#forceMiss) end = this.#tree.follow(scope, tokens, limit, end);
      return (end?.numNodes ?? 0) * this.blockSize;
    };
  }

  /**
   * The whole blocks right behind `found`, which `tokens` begin with, that were evicted recently,
   * without the last token; undefined for none. O(1) after no eviction, else O(such blocks).
   */
  findEvicted(
    scope: string,
    tokens: Uint32Array,
    found: readonly NodeId[],
  ): EvictedPrefix | undefined {
    return this.#forceMiss ? undefined : this.#records.findEvicted(scope, tokens, found);
  }

  /** Whether a node is in the tree. */
  has(node: NodeId): boolean {
    return this.columns === undefined ? this.#tree.has(node) : this.columns.isAttached(node);
  }

  /** Whether block `id` has one holder only. */
  isUnshared(id: BlockId): boolean {
    return this.#pool.refCount(id) === 1;
  }

  /** Whether block `id` is cached and nobody uses it. */
  isIdle(id: BlockId): boolean {
    return this.#pool.isIdle(id);
  }

  /** The group in which block `id` is cached; undefined for one that is not, or the only group. */
  groupOf(id: BlockId): number | undefined {
    const { columns } = this;
    if (columns?.isCached(id)) return columns.groupOf(id);
    return this.entries?.entryOf(id)?.group;
  }

  /** The node below `above` with that content; undefined when there is none. */
  find(above: TreeParent, { tokens, start }: BlockContent): NodeId | undefined {
    return this.#tree.find(above, tokens, start);
  }

  /** What is cached of the output of an encoder under that name; undefined when nothing is. */
  findInput(name: EntryName): EncoderEntry | undefined {
    return this.#forceMiss ? undefined : this.entries?.find(name);
  }

  countMissing(need: BlockNeed): number {
    return this.#pool.countMissing(need);
  }

  /** @throws {OutOfBlocksError} when there are not as many. Nothing has changed. */
  take(demand: Demand, sequence: SequenceId): BlockId[][] {
    const eviction = this.#eviction;
    if (eviction instanceof LeafEviction) return [this.#takeUncut(demand[0]!)];
    return this.#pool.take(demand, sequence, () => eviction.evictNext());
  }

  retain(ids: readonly BlockId[]): void {
    for (const id of ids) if (this.#pool.isIdle(id)) this.#idle.remove(id);
    this.#pool.retain(ids);
  }

  /** Cached blocks stay, the last of `ids` as the least recently used; others become free. */
  release(ids: readonly BlockId[]): void {
    this.#pool.release(ids);
    for (let i = ids.length - 1; i >= 0; i--) {
      const id = ids[i]!;
      if (this.#pool.isIdle(id)) this.#idle.add(id);
    }
  }

  /** Notes the hit of a newly admitted sequence, which holds its blocks by now. */
  noteHit({ nodes, blocks }: Hit, retention?: CacheRetention): void {
    const ids = this.groupNodes?.blocksAt(nodes) ?? blocks[0]!;
    for (const id of ids) {
      this.#idle.policy.hit(id);
      if (retention !== undefined) this.#idle.policy.setRetention(id, retention);
    }
    const last = nodes.at(-1);
    if (last === undefined) return;
    this.#tree.usage.note(last, this.#now());
    this.#records.tellUsed(last);
  }

  /**
   * Makes block `id` findable below `above`, and returns the block that is found by that content:
   * one that is there already stays, and `id` is not cached. The caller holds `id` and what is
   * above it. For one group of full attention.
   */
  insert(
    above: TreeParent,
    id: BlockId,
    content: BlockContent,
    retention?: CacheRetention,
  ): BlockId {
    const { tokens, start } = content;
    const found = this.#tree.find(above, tokens, start);
    if (found !== undefined) return found;
    if (above.parent !== undefined && this.#pool.isIdle(above.parent)) {
      throw new InvariantError(
        `block ${id} is cached below block ${above.parent}, which nobody holds`,
      );
    }
    this.#pool.mark(id);
    this.#tree.insert(above, tokens, start, id);
    this.#idle.policy.becomeCached(id);
    if (retention !== undefined) this.#idle.policy.setRetention(id, retention);
    this.#records.tellStored(id, 0, above.scope);
    return id;
  }

  /** Forgets everything and takes all pins back; no table or copy may hold a cached block. */
  clear(): void {
    this.pins.removeAll();
    const numOfNodes = this.columns?.numBlocks ?? this.#tree.numNodes;
    const numMarked = numOfNodes + (this.entries?.numBlocks ?? 0);
    const numInUse = numMarked - this.#idle.numIdleOffPaths;
    invariant(numInUse === 0, `${numInUse} of ${numMarked} cached blocks are in use`);
    const before = this.#records.numDropped;
    this.#eviction.dropIdle();
    this.#records.numReset += this.#records.numDropped - before;
    this.#records.tellCleared();
  }

  /**
   * Makes a node and all below it unfindable; holders keep their blocks. O(1) for a leaf or
   * O(pool).
   */
  forget(node: NodeId): void {
    const before = this.#records.numDropped;
    this.#eviction.dropNodes(this.#tree.subtreeOf(node));
    this.#records.numReset += this.#records.numDropped - before;
  }

  /**
   * Makes unfindable what a sequence with outputs of encoders has made of them, and what it has
   * found of those that are read behind its first `numSound` positions.
   */
  forgetInputs(inputs: { forget(numSound: number): void }, numSound: number): void {
    const before = this.#records.numDropped;
    inputs.forget(numSound);
    this.#records.numReset += this.#records.numDropped - before;
  }

  /** Evicts until `numSlabs` are free, in the policy's order; there must be as many. */
  evictUntilFree(numSlabs: number): void {
    this.#eviction.evictUntilFree(numSlabs);
  }

  /** Takes the pool's new size and the blocks' new ids; what is cached stays so. O(pool). */
  resize(remap: BlockRemap): void {
    if (this.columns === undefined) this.#tree.resize(remap);
    else this.columns.remap(remap);
    this.entries?.remap(remap);
    this.#idle.resize(remap);
    this.pins.resize(remap, this.#pool.numSlabs);
  }

  /** Adds the references of pins to `counts`, one entry per block; for audits. */
  countReferences(counts: number[]): void {
    this.pins.countReferences(counts);
  }

  /** Slabs that as many blocks as a hit's fill: the unit in which pins are counted. */
  numSlabsOf({ blocks }: Hit): number {
    return this.#pool.numSlabsFor(blocks.map((ids) => ids.filter((id) => id !== NO_BLOCK).length));
  }

  /** The `maxNumRuns` largest and most used runs of the tree, and what holds them. O(pool). */
  viewTree(maxNumRuns: number): TreeView {
    const { pins, columns, groups } = this;
    const holders = holdersOfNodes({ ...this.#cached, pins, columns, groups });
    return viewTree(this.#tree, { ...holders, maxNumRuns, nowMs: this.#now() });
  }

  /**
   * The tokens of a path in `scope`, from the first to the end of a node; undefined where there is
   * no such node with that path hash any more, or it is of another scope.
   */
  tokensAlong({ node, hash, scope }: PathName): Uint32Array | undefined {
    return tokensAlong(this.#tree, { node, hash, scope });
  }

  /** Audit: tree and policy are whole, and a holder of a block holds what is above it. O(pool). */
  checkIntegrity(): void {
    const { groups, columns, entries } = this;
    checkCache({ ...this.#cached, groups, columns, entries });
  }

  /**
   * Takes `count` blocks where slabs are not cut, all or none.
   *
   * @throws {OutOfBlocksError} when fewer than `count` are available. Nothing has changed.
   */
  #takeUncut(count: number): BlockId[] {
    if (count > this.numAvailable) throw new OutOfBlocksError(count, this.numAvailable);
    const pool = this.#pool as BlockPool;
    const ids = pool.allocate(Math.min(count, pool.numFree));
    if (ids.length === count) return ids;
    const evicted = (this.#eviction as LeafEviction).evict(count - ids.length);
    for (const id of evicted) pool.claim(id);
    return ids.concat(evicted);
  }

  /** The block of the same group above a cached block; undefined for the first of a path. */
  #parentOf(id: BlockId): BlockId | undefined {
    const { columns } = this;
    if (columns === undefined) return this.#tree.parentOf(id);
    // The output of an encoder is on no path.
    if (!columns.isCached(id)) return undefined;
    const parent = this.#tree.parentOf(columns.nodeOf(id));
    if (parent === undefined) return undefined;
    const block = columns.blockOf(parent, columns.groupOf(id));
    return block === NO_BLOCK ? undefined : block;
  }

  /** Audit: each node counts the paths it lies on. O(nodes + nodes of paths). */
  checkPaths(paths: Iterable<PathNodes | undefined>): void {
    if (this.columns !== undefined) checkPaths(this.columns, paths);
  }
}
