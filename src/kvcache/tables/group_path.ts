import { omitUndefined } from "../../base/omit_undefined.ts";
import { NO_BLOCK } from "../../core/cache_group.ts";
import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import type { BlockCaching, GroupNodes } from "../prefix/group_nodes.ts";
import type { Hit } from "../prefix/longest_hit.ts";
import type { NodeBlock } from "../prefix/node_blocks.ts";
import type { PrefixCache } from "../prefix/prefix_cache.ts";
import type { BlockContent, NodeId, TreeParent } from "../prefix/radix_tree.ts";
import type { BlockTables } from "./block_tables.ts";
import { type CachingOptions, OPEN_SCOPE, type SequencePath } from "./sequence_path.ts";
import { WindowTails } from "./window_tails.ts";

/** Where a path begins and what it is to keep. */
export interface PathStart {
  /** What was found for the tables, which hold it. */
  readonly hit: Hit;
  /** Lengths at which a later hit may end, ascending: there the tails of windows stay cached. */
  readonly keep: readonly number[];
  /** Tokens known at the start. */
  readonly numTokens: number;
  /** Every so many tokens states are kept as well; absent: never. */
  readonly snapshotInterval?: number;
  /** The path that this one forks, and how many blocks of its tables are shared. */
  readonly source?: { readonly path: GroupPath; readonly numBlocks: number };
}

/** A block of a node, of which a table has a duplicate, as entry `index`. */
interface AdoptedBlock extends NodeBlock {
  readonly index: number;
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
 * Of full attention each block becomes findable when it is full. Of a window only its tails do
 * ({@link WindowTails}): that of the last block boundary, and those of lengths that are kept, such
 * as the end of the prompt and a junction.
 *
 * A node may be there already with other blocks of full attention: of a prompt whose window or
 * state was missing, or of a twin that is computed side by side. Where nobody uses these, its own
 * blocks replace them and they are free; else it **adopts** them, one more reference to each, until
 * they are nobody else's. So whatever it makes findable stays so.
 */
export class GroupPath implements SequencePath {
  readonly #cache: PrefixCache;
  readonly #groupNodes: GroupNodes;
  /** How its blocks are cached. */
  readonly caching: BlockCaching;
  readonly #keep: readonly number[];
  readonly #nodes: NodeId[];
  readonly #numFound: number;
  readonly #tails: WindowTails;
  /** Tokens known at the start: from there on the answer grows. */
  readonly #numPromptTokens: number;
  readonly #interval: number;
  /** The latest snapshots of states, unless they are to be kept. */
  #movingSnapshots: NodeBlock[] = [];
  /** Blocks of nodes of which the tables have duplicates. */
  readonly #adopted: AdoptedBlock[] = [];
  /** Whether nothing more becomes findable. */
  #isStopped = false;
  #tokens: Uint32Array = new Uint32Array();
  /** Leading blocks that are full of computed tokens. */
  #numFull = 0;

  constructor(
    cache: PrefixCache,
    { scope = OPEN_SCOPE, retention }: CachingOptions,
    start: PathStart,
  ) {
    const { hit, keep, source } = start;
    this.#numPromptTokens = start.numTokens;
    this.#interval = start.snapshotInterval ?? Infinity;
    this.#cache = cache;
    this.#groupNodes = cache.groupNodes!;
    this.caching = { scope, ...omitUndefined({ retention }) };
    this.#keep = keep;
    this.#nodes = [...hit.nodes];
    this.#numFound = hit.nodes.length;
    if (source !== undefined && !source.path.#isForgotten) this.#fork(source);
    this.#groupNodes.hold(this.#nodes);
    const shared = source && { tails: source.path.#tails, numBlocks: source.numBlocks };
    this.#tails = new WindowTails(cache, keep, shared);
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

  /** A snapshot of these tokens has been made; the next of the answer replaces it. */
  noteSnapshot(snapshot: NodeBlock, numTokens: number): void {
    if (!this.#keepsState(numTokens)) this.#movingSnapshots.push(snapshot);
  }

  /** Frees the latest snapshots, unless they are to be kept. */
  dropMovingSnapshots(): void {
    for (const snapshot of this.#movingSnapshots) this.#groupNodes.dropIdle(snapshot);
    this.#movingSnapshots = [];
  }

  publish(tables: BlockTables, tokens: Uint32Array, numComputed: number): void {
    this.#tokens = tokens;
    this.#numFull = Math.floor(numComputed / this.#cache.blockSize);
    this.#tails.moveTo(this.#numFull);
    if (this.#isForgotten) return;
    this.returnAdopted(tables);
    while (!this.#isStopped && this.#nodes.length < this.#numFull) {
      this.#isStopped = !this.#enter(tables, this.#nodes.length);
    }
  }

  dropPassed(): void {
    this.#tails.dropPassed(this.#nodes);
  }

  /** The blocks of the tables, and those adopted. */
  end(tables: BlockTables): readonly (readonly BlockId[])[] {
    const held = tables.map((table) => table.filter((id) => id !== NO_BLOCK));
    for (const { group, id } of this.#adopted) held[group]!.push(id);
    return held;
  }

  /**
   * Has its own blocks replace those adopted ones that nobody else uses any more, the last first;
   * these are free. Returns whether there were any. O(such blocks).
   */
  returnAdopted(tables: BlockTables): boolean {
    const numBefore = this.#adopted.length;
    for (let last = this.#adopted.at(-1); last !== undefined; last = this.#adopted.at(-1)) {
      const { node, group, id, index } = last;
      if (!this.#cache.isUnshared(id)) break;
      this.#adopted.pop();
      const isThere = this.#cache.has(node) && this.#blockAt(node, group) === id;
      if (isThere) this.#groupNodes.replaceBlock({ node, group, id: tables[group]![index]! });
      this.#cache.release([id]);
    }
    return this.#adopted.length < numBefore;
  }

  close(): void {
    this.#groupNodes.unhold(this.#nodes);
  }

  forget(_tables: BlockTables, tokens: Uint32Array, numSound: number): void {
    const own = this.#nodes[this.#numFound];
    if (own !== undefined && this.#cache.has(own)) this.#cache.forget(own);
    const found = this.#cache.match(this.caching.scope, tokens, tokens.length);
    if (found[numSound] !== undefined) this.#cache.forget(found[numSound]);
    this.#numFull = 0;
  }

  remap(remap: BlockRemap): void {
    const follow = ({ id, ...ofNode }: NodeBlock) => ({
      ...ofNode,
      id: remap.keeps(id) ? remap.idOf(id) : id,
    });
    this.#movingSnapshots = this.#movingSnapshots.map(follow);
    for (const [i, adopted] of this.#adopted.entries()) {
      this.#adopted[i] = { ...adopted, id: remap.idOf(adopted.id) };
    }
    this.#tails.remap(remap);
  }

  countReferences(counts: number[]): void {
    for (const { id } of this.#adopted) counts[id]!++;
  }

  countNodes(counts: number[]): void {
    for (const node of this.#nodes) counts[node]!++;
  }

  #keepsState(numTokens: number): boolean {
    return this.#keep.includes(numTokens) || numTokens % this.#interval === 0;
  }

  /** Whether the last node of the path has been forgotten since: nothing can go below it. */
  get #isForgotten(): boolean {
    const tip = this.#nodes.at(-1);
    return tip !== undefined && !this.#cache.has(tip);
  }

  /** Begins with the nodes of what is shared, and adopts what the source has adopted there. */
  #fork({ path, numBlocks }: Required<PathStart>["source"]): void {
    this.#nodes.push(...path.#nodes.slice(0, numBlocks));
    for (const adopted of path.#adopted) {
      if (adopted.index >= numBlocks) continue;
      this.#cache.retain([adopted.id]);
      this.#adopted.push(adopted);
    }
  }

  /** Puts the node of block `index` on the path; false where nothing more may become findable. */
  #enter(tables: BlockTables, index: number): boolean {
    const found = this.#cache.find(this.#tip, this.#content(index));
    // A table that shares the block does not hold what is adopted above it.
    const isInTheWay = this.#adopted.length > 0 && !this.#isUnshared(tables, index);
    if (found === undefined && isInTheWay) return false;
    const node = found ?? this.#groupNodes.add(this.#tip, this.#content(index));
    this.#groupNodes.hold([node]);
    this.#nodes.push(node);
    for (const group of this.#fullGroups) {
      const own = { node, group, id: tables[group]![index]! };
      if (found === undefined) this.#groupNodes.setBlock(own, this.caching);
      else this.#replaceOrAdopt(own, index);
    }
    this.#tails.offer({ node, index, tables, caching: this.caching });
    return true;
  }

  /**
   * Has its own block of full attention replace the node's, or adopts that one while it is in use.
   */
  #replaceOrAdopt(own: NodeBlock, index: number): void {
    const { node, group } = own;
    const id = this.#blockAt(node, group);
    if (id === own.id) return;
    const canReplace = this.#cache.isIdle(id) && this.#cache.isUnshared(own.id);
    if (canReplace) return this.#groupNodes.replaceBlock(own);
    this.#cache.retain([id]);
    this.#adopted.push({ node, group, id, index });
  }

  #isUnshared(tables: BlockTables, index: number): boolean {
    return this.#fullGroups.every((group) => this.#cache.isUnshared(tables[group]![index]!));
  }

  get #fullGroups(): readonly number[] {
    return this.#cache.fullGroups;
  }

  #blockAt(node: NodeId, group: number): BlockId {
    return this.#cache.columns!.blockOf(node, group);
  }

  /** The last node of the path, which the next one goes below. */
  get #tip(): TreeParent {
    return { scope: this.caching.scope, parent: this.#nodes.at(-1) };
  }

  #content(index: number): BlockContent {
    return { tokens: this.#tokens, start: index * this.#cache.blockSize };
  }
}
