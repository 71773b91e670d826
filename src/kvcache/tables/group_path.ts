import { type LayerCache, type LiveRange, liveRange, NO_BLOCK } from "../../core/cache_group.ts";
import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { Hit } from "../prefix/longest_hit.ts";
import type { NodeId } from "../prefix/node_blocks.ts";
import type { BlockContent, NodeBlock, PrefixCache } from "../prefix/prefix_cache.ts";
import type { TreePlace } from "../prefix/radix_tree.ts";
import { isInRange } from "./demands.ts";
import type { BlockTables } from "./block_tables.ts";
import { type CachingOptions, type SequencePath, SHARED_SCOPE } from "./sequence_path.ts";

/** Where a path begins and what it is to keep. */
export interface PathStart {
  /** What was found for the tables, which hold it. */
  readonly hit: Hit;
  /** Lengths at which a later hit may end, ascending: there the tails of windows stay cached. */
  readonly keep: readonly number[];
  /** Tokens known at the start. */
  readonly numTokens: number;
  /** Every so many tokens states are kept as well; absent: never. */
  readonly checkpointInterval?: number;
  /** The path that this one branches off, and how many blocks of its tables are shared. */
  readonly source?: { readonly path: GroupPath; readonly numBlocks: number };
}

/**
 * How far the blocks of one sequence are findable, with several groups or one that keeps less than
 * every position. The path holds its nodes, so that what is idle there is evicted last.
 *
 *     tokens     0         16        32        48        64        80
 *     nodes      [   a    ][   b    ][   c    ][   d    ][   e    ]     80 computed
 *     full       [   9    ][   4    ][   7    ][   8    ][   3    ]
 *     window 20                      [   5    ][   2    ][   6    ]     tail of 80; 5 goes with it
 *
 * Of full attention each block becomes findable when it is full. Of a window only **tails** do,
 * what a hit of some length needs: that of the last block boundary, which moves along and is the
 * tail of the answer at the end, and those of lengths that are kept, such as the end of the prompt
 * and a junction. A block that leaves the last tail it is in is free at once.
 *
 * With full attention, from the first node on whose blocks are another's, nothing becomes findable
 * until the sequence ends: it would hang below blocks that its tables do not hold.
 */
export class GroupPath implements SequencePath {
  readonly #cache: PrefixCache;
  readonly #options: CachingOptions;
  readonly #keep: number[];
  readonly #nodes: NodeId[];
  readonly #numFound: number;
  /** Per group of windows, blocks of moving tails that this path has made findable, by index. */
  readonly #moving: Map<number, BlockId>[];
  /** Tokens known at the start: from there on the answer grows. */
  readonly #numPromptTokens: number;
  readonly #interval: number;
  /** The latest snapshots of states, unless they are to be kept. */
  #movingSnapshots: NodeBlock[] = [];
  #hasDuplicate = false;
  #tokens: Uint32Array = new Uint32Array();
  /** Leading blocks that are full of computed tokens. */
  #numFull = 0;

  constructor(cache: PrefixCache, options: CachingOptions, start: PathStart) {
    const { hit, keep, source } = start;
    this.#numPromptTokens = start.numTokens;
    this.#interval = start.checkpointInterval ?? Infinity;
    this.#cache = cache;
    this.#options = options;
    this.#keep = [...keep];
    this.#nodes = [...hit.nodes];
    this.#numFound = hit.nodes.length;
    cache.hold(hit.nodes);
    this.#moving = cache.groups.map((_, group) => {
      if (source === undefined) return new Map();
      const shared = source.path.#moving[group]!.entries();
      return new Map(shared.filter(([index]) => index < source.numBlocks));
    });
  }

  /** The node that ends with position `numTokens`, a block boundary; undefined if it has none. */
  nodeAt(numTokens: number): NodeId | undefined {
    if (this.#isForgotten) return undefined;
    return this.#nodes[numTokens / this.#cache.blockSize - 1];
  }

  /** Whether the states are to be kept as they are after so many tokens, a block boundary. */
  wantsSnapshot(numTokens: number): boolean {
    return numTokens >= this.#numPromptTokens || this.#keepsState(numTokens);
  }

  /** A snapshot of these tokens has been made; the next of the answer takes its place. */
  noteSnapshot(snapshot: NodeBlock, numTokens: number): void {
    if (!this.#keepsState(numTokens)) this.#movingSnapshots.push(snapshot);
  }

  /** Frees the latest snapshots, unless they are to be kept. */
  dropMovingSnapshots(): void {
    for (const snapshot of this.#movingSnapshots) this.#cache.dropIdle(snapshot);
    this.#movingSnapshots = [];
  }

  extend(tables: BlockTables, tokens: Uint32Array, numComputed: number): void {
    this.#tokens = tokens;
    this.#numFull = Math.floor(numComputed / this.#cache.blockSize);
    if (this.#isForgotten) return;
    while (!this.#hasDuplicate && this.#nodes.length < this.#numFull) {
      this.#hasDuplicate = !this.#enter(tables, this.#nodes.length);
    }
  }

  /**
   * Frees what has left the last tail that it was in; after its table has let it go. O(1) per block
   * that leaves.
   */
  dropPassed(): void {
    const { groups } = this.#cache;
    groups.forEach((cache, group) => {
      if (!isWindow(cache)) return;
      const tail = this.#tailAt(cache, this.#numFull * this.#cache.blockSize);
      const moving = this.#moving[group]!;
      for (const [index, id] of moving) {
        if (index >= tail.start) break;
        moving.delete(index);
        const node = this.#nodes[index];
        if (node === undefined || isInRange(tail, index) || this.#isKept(cache, index)) continue;
        this.#cache.dropIdle({ node, group, id });
      }
    });
  }

  /** With full attention, whatever was found in place of its own blocks is held like these. */
  end(tables: BlockTables): readonly (readonly BlockId[])[] {
    const held = tables.map((table) => table.filter((id) => id !== NO_BLOCK));
    if (!this.#hasDuplicate || this.#isForgotten) return held;
    for (let index = this.#nodes.length; index < this.#numFull; index++) {
      const place = this.#place();
      const content = this.#content(index);
      const found = this.#cache.find(place, content);
      if (found !== undefined) this.#holdFound(found, tables, index, held);
      // That of a table which does not hold what is above it here would be in the way there.
      else if (this.#isUnshared(tables, index)) this.#make(tables, index);
      else break;
    }
    return held;
  }

  close(): void {
    this.#cache.unhold(this.#nodes);
  }

  forget(_tables: BlockTables, tokens: Uint32Array, numSound: number): void {
    const own = this.#nodes[this.#numFound];
    if (own !== undefined && this.#cache.has(own)) this.#cache.forget(own);
    const found = this.#cache.match(this.#scope, tokens, tokens.length);
    if (found[numSound] !== undefined) this.#cache.forget(found[numSound]);
    this.#numFull = 0;
  }

  remap(remap: BlockRemap): void {
    const follow = ({ id, ...place }: NodeBlock) => ({
      ...place,
      id: remap.keeps(id) ? remap.idOf(id) : id,
    });
    this.#movingSnapshots = this.#movingSnapshots.map(follow);
    for (const moving of this.#moving) {
      // What was evicted since may be gone; what is there under its id is not this path's.
      for (const [index, id] of moving) if (remap.keeps(id)) moving.set(index, remap.idOf(id));
    }
  }

  countNodes(counts: Map<NodeId, number>): void {
    for (const node of this.#nodes) counts.set(node, (counts.get(node) ?? 0) + 1);
  }

  #keepsState(numTokens: number): boolean {
    return this.#keep.includes(numTokens) || numTokens % this.#interval === 0;
  }

  get #scope(): string {
    return this.#options.scope ?? SHARED_SCOPE;
  }

  /** Whether the last node of the path has been forgotten since: nothing can go below it. */
  get #isForgotten(): boolean {
    const tip = this.#nodes.at(-1);
    return tip !== undefined && !this.#cache.has(tip);
  }

  /** Puts the node of block `index` on the path, unless its blocks of full attention are others. */
  #enter(tables: BlockTables, index: number): boolean {
    const found = this.#cache.find(this.#place(), this.#content(index));
    if (found === undefined) {
      this.#make(tables, index);
      return true;
    }
    if (this.#fullGroups.some((g) => this.#blockAt(found, g) !== tables[g]![index])) return false;
    this.#cache.hold([found]);
    this.#nodes.push(found);
    this.#offerTails(found, tables, index);
    return true;
  }

  /** Makes the node of block `index`. */
  #make(tables: BlockTables, index: number): void {
    const node = this.#cache.addNode(this.#place(), this.#content(index));
    this.#cache.hold([node]);
    this.#nodes.push(node);
    for (const group of this.#fullGroups) {
      this.#cache.setBlock({ node, group, id: tables[group]![index]! }, this.wish);
    }
    this.#offerTails(node, tables, index);
  }

  #holdFound(found: NodeId, tables: BlockTables, index: number, held: BlockId[][]): void {
    const others = this.#fullGroups.filter((g) => this.#blockAt(found, g) !== tables[g]![index]);
    for (const group of others) {
      const id = this.#blockAt(found, group);
      this.#cache.retain([id]);
      held[group]!.push(id);
    }
    this.#cache.hold([found]);
    this.#nodes.push(found);
    this.#offerTails(found, tables, index);
  }

  /** Makes blocks of windows findable at a node where none are and a tail needs them. */
  #offerTails(node: NodeId, tables: BlockTables, index: number): void {
    this.#cache.groups.forEach((cache, group) => {
      if (!isWindow(cache) || this.#blockAt(node, group) !== NO_BLOCK) return;
      const id = tables[group]![index];
      const tail = this.#tailAt(cache, this.#numFull * this.#cache.blockSize);
      if (id === undefined || id === NO_BLOCK) return;
      if (!isInRange(tail, index) && !this.#isKept(cache, index)) return;
      this.#cache.setBlock({ node, group, id }, this.wish);
      this.#moving[group]!.set(index, id);
    });
  }

  #isUnshared(tables: BlockTables, index: number): boolean {
    return this.#fullGroups.every((group) => this.#cache.isUnshared(tables[group]![index]!));
  }

  #isKept(cache: LayerCache, index: number): boolean {
    return this.#keep.some((numTokens) => isInRange(this.#tailAt(cache, numTokens), index));
  }

  /** What a hit of `numTokens`, a block boundary, needs. */
  #tailAt(cache: LayerCache, numTokens: number): LiveRange {
    return liveRange(cache, numTokens, this.#cache.blockSize);
  }

  get #fullGroups(): readonly number[] {
    return this.#cache.fullGroups;
  }

  #blockAt(node: NodeId, group: number): BlockId {
    return this.#cache.columns!.blockOf(node, group);
  }

  /** How its blocks are cached. */
  get wish() {
    const { retention } = this.#options;
    return { scope: this.#scope, ...(retention === undefined ? {} : { retention }) };
  }

  #place(): TreePlace {
    return { scope: this.#scope, parent: this.#nodes.at(-1) };
  }

  #content(index: number): BlockContent {
    return { tokens: this.#tokens, start: index * this.#cache.blockSize };
  }
}

function isWindow({ kind }: LayerCache): boolean {
  return kind === "sliding_window" || kind === "chunked_local";
}
