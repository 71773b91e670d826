import { invariant, InvariantError } from "../../base/invariant.ts";
import { type LayerCache, NO_BLOCK } from "../../core/cache_group.ts";
import { OutOfBlocksError } from "../../core/errors.ts";
import type { CacheRetention } from "../../core/generation.ts";
import type { BlockId, SequenceId } from "../../core/ids.ts";
import { BlockPool } from "../pool/block_pool.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { BlockSource, Demand, Need, Pool } from "../pool/pool.ts";
import { BlockKeyer } from "./block_key.ts";
import type { CacheListener } from "./cache_listener.ts";
import { createEvictionPolicy } from "./create_eviction_policy.ts";
import { EvictedBlocks } from "./evicted_blocks.ts";
import { IdleOrder } from "./idle_order.ts";
import { type Hit, longestHit, noHit } from "./longest_hit.ts";
import { NodeBlocks, type NodeId } from "./node_blocks.ts";
import { PinnedPrefixes } from "./pinned_prefixes.ts";
import type { PrefixCacheOptions } from "./prefix_cache_options.ts";
import { RadixTree, type TreePlace } from "./radix_tree.ts";

/** What a block holds: `tokens[start, start + blockSize)`. */
export interface BlockContent {
  readonly tokens: Uint32Array;
  readonly start: number;
}

/** A path whose nodes can be counted. */
interface PathNodes {
  countNodes(counts: Map<NodeId, number>): void;
}

/** A block of a group that holds, or is to hold, what a node stands for. */
export interface NodeBlock {
  readonly node: NodeId;
  readonly group: number;
  readonly id: BlockId;
}

/** Share of the pool that may be pinned unless told otherwise. */
const DEFAULT_MAX_PINNED_SHARE = 0.5;

/** The one group of a cache that is told of none. */
const ONE_FULL_GROUP: readonly LayerCache[] = [{ kind: "full", numKvHeads: 1, headDim: 1 }];

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
 * NodeBlocks}). Blocks of windows and states can be idle on the path of a sequence that runs, which
 * does not read them any more; they are evicted after all others, since the path was used last. In
 * a model with full attention a node goes with its block of that group, and what other groups have
 * there goes along: nothing could find it.
 *
 * The policy has the idle blocks in order, all groups on one clock. Free blocks are handed out
 * before any is evicted. Every operation costs O(blocks passed).
 */
export class PrefixCache implements BlockSource {
  /** Token positions per block. */
  readonly blockSize: number;
  readonly pins: PinnedPrefixes;
  /** Which block stands for which node; undefined where a node is its block. */
  readonly columns: NodeBlocks | undefined;
  readonly groups: readonly LayerCache[];
  readonly #pool: Pool;
  readonly #tree: RadixTree;
  readonly #evicted = new EvictedBlocks();
  readonly #idle: IdleOrder;
  readonly #forceMiss: boolean;
  readonly #listener: CacheListener | undefined;
  /** The groups that keep every position: each node has a block of each of them. */
  readonly fullGroups: readonly number[];
  #numDropped = 0;
  #numEvicted = 0;
  #numReset = 0;

  constructor(
    pool: Pool,
    blockSize: number,
    options: PrefixCacheOptions,
    groups: readonly LayerCache[] = ONE_FULL_GROUP,
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
    this.#tree = new RadixTree(
      isOneFull ? numBlocks : 1,
      blockSize,
      new BlockKeyer(options.keySpace),
    );
    this.#idle = new IdleOrder(
      createEvictionPolicy(policy, numBlocks, now),
      numBlocks,
      this.#tree,
      {
        groups,
        columns: this.columns,
      },
    );
    this.#forceMiss = options.forceMiss ?? false;
    this.#listener = options.listener;
    const maxPinnedShare = options.maxPinnedShare ?? DEFAULT_MAX_PINNED_SHARE;
    this.pins = new PinnedPrefixes(this, maxPinnedShare, pool.numSlabs);
  }

  /** Whether look-ups can find anything. */
  get isSearched(): boolean {
    return !this.#forceMiss;
  }

  /** Slabs that hold idle blocks and none in use: they can be made free. */
  get numIdle(): number {
    return this.#pool.numIdle;
  }

  /** Nodes of the tree, those in use included; with one group of full attention, blocks. */
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
   * How many tokens right behind `found`, which `tokens` begin with, are in whole blocks that were
   * evicted of late. The last token does not count. O(1) after no eviction, else O(such blocks).
   */
  countEvicted(scope: string, tokens: Uint32Array, found: readonly NodeId[]): number {
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

  /** The node at `place` with that content; undefined when there is none. */
  find(place: TreePlace, { tokens, start }: BlockContent): NodeId | undefined {
    return this.#tree.find(place, tokens, start);
  }

  countMissing(need: Need): number {
    return this.#pool.countMissing(need);
  }

  /**
   * Takes `count` blocks where slabs are not cut, all or none, each with one reference.
   *
   * @throws {OutOfBlocksError} when fewer than `count` are available. Nothing has changed.
   */
  allocate(count: number): BlockId[] {
    if (count > this.numAvailable) throw new OutOfBlocksError(count, this.numAvailable);
    const pool = this.#pool as BlockPool;
    const ids = pool.allocate(Math.min(count, pool.numFree));
    if (ids.length === count) return ids;
    const evicted = this.#evictLeaves(count - ids.length);
    for (const id of evicted) pool.claim(id);
    return ids.concat(evicted);
  }

  take(counts: Demand, owner: SequenceId): BlockId[][] {
    if (this.columns === undefined) return [this.allocate(counts[0]!)];
    return this.#pool.take(counts, owner, () => this.#evictNext());
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

  /** Puts nodes on the path of one more sequence. */
  hold(nodes: readonly NodeId[]): void {
    const columns = this.columns!;
    for (const node of nodes) if (columns.hold(node)) this.#reorder(node);
  }

  /**
   * Takes nodes off the path of a sequence, the last of them first: what is idle there was last
   * used now, and what lies deeper goes first.
   */
  unhold(nodes: readonly NodeId[]): void {
    const columns = this.columns!;
    for (let i = nodes.length - 1; i >= 0; i--) {
      const node = nodes[i]!;
      if (!columns.unhold(node)) continue;
      this.#reorder(node);
      if (this.fullGroups.length === 0) this.#prune(node);
    }
  }

  /** Notes that a newly admitted sequence, which holds what it found, has found it. */
  noteHit({ nodes, blocks }: Hit, retention?: CacheRetention): void {
    const ids = this.columns === undefined ? blocks[0]! : this.#blocksAt(nodes);
    for (const id of ids) {
      this.#idle.policy.hit(id);
      if (retention !== undefined) this.#idle.policy.setRetention(id, retention);
    }
    const last = nodes.at(-1);
    if (last !== undefined) this.#listener?.used(this.#tree.keyOf(last));
  }

  /**
   * Makes block `id` findable at `place`, and returns the block that is found there: one that is
   * there already stays, and `id` is not cached. The caller holds `id` and what is above the place.
   * For one group of full attention.
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
    if (place.parent !== undefined && this.#pool.isIdle(place.parent)) {
      throw new InvariantError(
        `block ${id} is cached below block ${place.parent}, which nobody holds`,
      );
    }
    this.#pool.mark(id);
    this.#tree.insert(place, tokens, start, id);
    this.#start(id, retention);
    if (this.#listener !== undefined) this.#tellStored(id, 0, place.scope);
    return id;
  }

  /**
   * Makes a node at `place`, where there is none, on the path of the caller, who holds what is
   * above.
   */
  addNode(place: TreePlace, { tokens, start }: BlockContent): NodeId {
    const columns = this.columns!;
    invariant(
      place.parent === undefined || columns.isHeld(place.parent),
      `a node is put below node ${place.parent}, which is on no path`,
    );
    const node = columns.open();
    if (columns.capacity > this.#tree.capacity) this.#tree.grow(columns.capacity);
    this.#tree.insert(place, tokens, start, node);
    return node;
  }

  /** Makes block `id`, which the caller holds, findable at a node where its group has none. */
  setBlock(
    { node, group, id }: NodeBlock,
    { scope, retention }: { readonly scope: string; readonly retention?: CacheRetention },
  ): void {
    this.#pool.mark(id);
    this.columns!.set(node, group, id);
    this.#start(id, retention);
    if (this.#listener !== undefined) this.#tellStored(node, group, scope);
  }

  /**
   * Puts block `id`, which the caller holds and nobody else, in the place of the one that stands
   * for a node in that group: the content is the same, so nobody is told. Without references the
   * other is free.
   */
  replaceBlock({ node, group, id }: NodeBlock): void {
    const columns = this.columns!;
    const before = columns.blockOf(node, group);
    if (this.#pool.isIdle(before)) this.#idle.remove(before);
    columns.clear(node, group);
    this.#pool.unmark(before);
    this.#pool.mark(id);
    columns.set(node, group, id);
    this.#idle.policy.replace(before, id);
  }

  /** Makes a cached block of a group that is not full unfindable; its holders keep it. */
  forgetBlock(id: BlockId): void {
    const node = this.#nodeOf(id);
    if (node === undefined) return;
    this.#detach(node, this.columns!.groupOf(id), true);
    if (this.fullGroups.length === 0) this.#prune(node);
  }

  /** Makes a block of a group that is not full unfindable if nobody uses it: it is free then. */
  dropIdle({ node, group, id }: NodeBlock): void {
    if (!this.#pool.isIdle(id) || this.columns!.blockOf(node, group) !== id) return;
    this.#detach(node, group, true);
    if (this.fullGroups.length === 0) this.#prune(node);
  }

  /** Forgets everything and takes all pins back; no table or copy may hold a cached block. */
  clear(): void {
    this.pins.removeAll();
    const numInUse = this.#numMarked - this.#idle.numListed;
    invariant(numInUse === 0, `${numInUse} of ${this.#numMarked} cached blocks are in use`);
    const before = this.#numDropped;
    while (this.#idle.numListed > 0) this.#drop(this.#idle.next(), false);
    this.#numReset += this.#numDropped - before;
    this.#evicted.clear();
    this.#listener?.cleared();
  }

  /**
   * Makes a node and all below it unfindable; holders keep their blocks. O(1) for a leaf or
   * O(pool).
   */
  forget(node: NodeId): void {
    const nodes = this.#tree.subtreeOf(node);
    const before = this.#numDropped;
    if (this.columns === undefined) {
      this.#listener?.removed({ keys: nodes.map((id) => this.#tree.keyOf(id)), group: 0 });
    }
    for (const each of nodes) this.#dropNode(each, this.columns !== undefined);
    this.#numReset += this.#numDropped - before;
  }

  /** Evicts until `numSlabs` are free, in the policy's order; there must be as many. */
  evictUntilFree(numSlabs: number): void {
    const pool = this.#pool;
    if (this.columns !== undefined) { while (pool.numFree < numSlabs) this.#evictNext(); }
    else {
      const ids = this.#evictLeaves(Math.max(0, numSlabs - pool.numFree));
      for (const id of ids) pool.unmark(id);
    }
  }

  /** Takes the pool's new size and the blocks' new ids; what is cached stays so. O(pool). */
  resize(remap: BlockRemap): void {
    if (this.columns === undefined) this.#tree.resize(remap);
    else this.columns.remap(remap);
    this.#idle.resize(remap);
    this.pins.resize(remap, this.#pool.numSlabs);
  }

  /** Adds the references of pins to `counts`, one entry per block; for audits. */
  countReferences(counts: Uint32Array): void {
    this.pins.countReferences(counts);
  }

  /** The unit in which pins are counted: how many slabs blocks like these fill. */
  numSlabsOf({ blocks }: Hit): number {
    return this.#pool.numSlabsFor(blocks.map((ids) => ids.filter((id) => id !== NO_BLOCK).length));
  }

  /** Audit: tree and policy are whole, and a holder of a block holds what is above it. O(pool). */
  checkIntegrity(): void {
    this.#tree.checkIntegrity();
    this.columns?.checkIntegrity();
    let numListed = 0;
    for (let id = 0; id < this.#pool.numBlocks; id++) {
      const node = this.#nodeOf(id);
      const isCached = node !== undefined;
      invariant(isCached === this.#pool.isMarked(id), `block ${id} is marked and not in the tree`);
      if (node === undefined) continue;
      const isOnPath = this.#idle.isOnPath(id);
      const shouldBe = this.#pool.isIdle(id) && (this.columns?.isHeld(node) ?? false);
      invariant(
        isOnPath === shouldBe,
        `block ${id} is among the idle ones on paths, or lacks there`,
      );
      if (this.#pool.isIdle(id) && !isOnPath) numListed++;
      this.#checkAbove(id);
    }
    this.#idle.checkIntegrity(numListed);
  }

  /** Audit: each node counts the paths it lies on. O(nodes of paths). */
  checkPaths(paths: Iterable<PathNodes | undefined>): void {
    const counts = new Map<NodeId, number>();
    for (const path of paths) path?.countNodes(counts);
    this.columns?.subtractHolders(counts);
    for (const [node, count] of counts) {
      invariant(count === 0, `node ${node} is on ${count} paths more than it counts`);
    }
  }

  /** That whoever holds a block of full attention holds the one above it. */
  #checkAbove(id: BlockId): void {
    const node = this.#nodeOf(id)!;
    const group = this.columns?.groupOf(id) ?? 0;
    if (this.groups[group]!.kind !== "full" || this.#pool.isIdle(id)) return;
    const parent = this.#tree.parentOf(node);
    if (parent === undefined) return;
    const above = this.columns?.blockOf(parent, group) ?? parent;
    invariant(
      above !== NO_BLOCK && !this.#pool.isIdle(above),
      `block ${id} is held, and block ${above} above it is not`,
    );
  }

  /** Blocks that are cached, those in use and those on paths included. */
  get #numMarked(): number {
    return this.columns?.numBlocks ?? this.#tree.numBlocks;
  }

  /** The node of a block that is cached. */
  #nodeOf(id: BlockId): NodeId | undefined {
    if (this.columns === undefined) return this.#tree.has(id) ? id : undefined;
    const node = this.columns.nodeOf(id);
    return node < 0 ? undefined : node;
  }

  #start(id: BlockId, retention: CacheRetention | undefined): void {
    this.#idle.policy.start(id);
    if (retention !== undefined) this.#idle.policy.setRetention(id, retention);
  }

  #tellStored(node: NodeId, group: number, scope: string): void {
    this.#listener!.stored({
      key: this.#tree.keyOf(node),
      parentKey: this.#tree.parentKeyOf(node),
      tokens: this.#tree.tokensOf(node).slice(),
      scope,
      group,
    });
  }

  /** A node is on a path now, or on none any more: its idle blocks change their order. */
  #reorder(node: NodeId): void {
    for (let group = 0; group < this.groups.length; group++) {
      const id = this.columns!.blockOf(node, group);
      if (id === NO_BLOCK || !this.#pool.isIdle(id)) continue;
      this.#idle.remove(id);
      this.#idle.add(id);
    }
  }

  #blocksAt(nodes: readonly NodeId[]): BlockId[] {
    return nodes.flatMap((node) =>
      this.groups.map((_, group) => this.columns!.blockOf(node, group))
        .filter((id) => id !== NO_BLOCK)
    );
  }

  /**
   * Takes `count` idle blocks out of the tree, in the policy's order; they keep their marks. For
   * one group of full attention.
   */
  #evictLeaves(count: number): BlockId[] {
    const ids: BlockId[] = [];
    const keys: string[] = [];
    while (ids.length < count) {
      const id = this.#idle.next();
      if (this.#listener !== undefined) keys.push(this.#tree.keyOf(id));
      this.#evicted.add(this.#tree.hashOf(id));
      this.#removeLeaf(id);
      ids.push(id);
    }
    this.#numEvicted += count;
    if (keys.length > 0) this.#listener?.removed({ keys, group: 0 });
    return ids;
  }

  /** Takes an idle leaf out of policy and tree. */
  #removeLeaf(id: BlockId): void {
    const parent = this.#tree.parentOf(id);
    this.#idle.remove(id);
    this.#numDropped++;
    this.#tree.remove(id);
    if (parent !== undefined && this.#tree.isLeaf(parent) && this.#pool.isIdle(parent)) {
      this.#idle.becomeLeaf(parent);
    }
  }

  /** Evicts the next idle block, or node: those on no path before those on one. */
  #evictNext(): void {
    const id = this.#idle.next();
    const before = this.#numDropped;
    const { columns } = this;
    if (columns!.groupOf(id) === 0) this.#evicted.add(this.#tree.hashOf(columns!.nodeOf(id)));
    this.#drop(id, true);
    this.#numEvicted += this.#numDropped - before;
  }

  /** Makes an idle block free; one of full attention is a leaf, and goes with its node. */
  #drop(id: BlockId, isTold: boolean): void {
    if (this.columns === undefined) {
      this.#removeLeaf(id);
      this.#pool.unmark(id);
      return;
    }
    const [node, group] = [this.columns.nodeOf(id), this.columns.groupOf(id)];
    if (this.groups[group]!.kind === "full") return this.#dropNode(node, isTold);
    this.#detach(node, group, isTold);
    if (this.fullGroups.length === 0) this.#prune(node);
  }

  /** Takes a leaf out of the tree, with all its blocks; those in use stay with their holders. */
  #dropNode(node: NodeId, isTold: boolean): void {
    const { columns } = this;
    if (columns === undefined) {
      if (this.#pool.isIdle(node)) return this.#drop(node, false);
      this.#numDropped++;
      this.#tree.remove(node);
      return this.#pool.unmark(node);
    }
    for (let group = 0; group < this.groups.length; group++) {
      if (columns.blockOf(node, group) !== NO_BLOCK) this.#detach(node, group, isTold);
    }
    this.#removeNode(node);
  }

  /** Takes a leaf without blocks out of the tree. */
  #removeNode(node: NodeId): void {
    const parent = this.#tree.parentOf(node);
    this.#tree.remove(node);
    this.columns!.close(node);
    if (parent === undefined || !this.#tree.isLeaf(parent)) return;
    this.groups.forEach(({ kind }, group) => {
      const id = this.columns!.blockOf(parent, group);
      const isIdle = id !== NO_BLOCK && this.#pool.isIdle(id);
      if (kind === "full" && isIdle) this.#idle.becomeLeaf(id);
    });
  }

  /** Makes what a node has in one group unfindable; without a holder it is free. */
  #detach(node: NodeId, group: number, isTold: boolean): void {
    const columns = this.columns!;
    const id = columns.blockOf(node, group);
    if (isTold) this.#listener?.removed({ keys: [this.#tree.keyOf(node)], group });
    if (this.#pool.isIdle(id)) this.#idle.remove(id);
    columns.clear(node, group);
    this.#pool.unmark(id);
    this.#numDropped++;
  }

  /** Takes nodes out of the tree that have no block, nothing below them, and are on no path. */
  #prune(from: NodeId): void {
    const columns = this.columns!;
    let node: NodeId | undefined = from;
    while (
      node !== undefined && columns.isAttached(node) && columns.isEmpty(node) &&
      !columns.isHeld(node) && this.#tree.isLeaf(node)
    ) {
      const parent = this.#tree.parentOf(node);
      this.#removeNode(node);
      node = parent;
    }
  }
}
