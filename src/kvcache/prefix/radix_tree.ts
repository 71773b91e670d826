import { InvariantError } from "../../base/invariant.ts";
import { BlockRemap } from "../pool/block_remap.ts";
import { type BlockKey, BlockKeyColumn, type BlockKeyer } from "./block_key.ts";
import { HashIndex } from "./hash_index.ts";
import { NodeUsage } from "./node_usage.ts";
import { PathHasher } from "./path_hash.ts";
import { ScopeRoots } from "./scope_roots.ts";

/** A node of the tree: a block-sized run of tokens behind all tokens above it. */
export type NodeId = number;

/** The parent of a node that is not in the tree. */
export const ABSENT = -1;
/** What stands for no node where one is looked for. */
const NONE = -1;

/** What stands as the parent of nodes below a root. */
function rootParent(root: number): number {
  return -2 - root;
}

/** The root that such a parent stands for. */
export function rootOf(parent: number): number {
  return -2 - parent;
}

/** What a node is looked for or put below: node `parent`, or without one the root of `scope`. */
export interface TreeParent {
  readonly scope: string;
  readonly parent: NodeId | undefined;
}

/** The last node that a prompt has been seen to lead to, and how it is known again. */
export interface PathEnd {
  readonly node: NodeId;
  /** Of the path to there; see {@link RadixTree.hashOf}. */
  readonly hash: number;
  /** Of the path. */
  readonly numNodes: number;
}

/** The tokens of a node: `tokens[start, start + blockSize)`. */
export interface BlockContent {
  readonly tokens: Uint32Array;
  readonly start: number;
}

/**
 * Token sequences whose KV is cached, as one radix tree per scope whose nodes are block-sized.
 *
 *     scope "a" --- [You are a help] --- [ful assistant. ] --+-- [What is 2 + 2? ]
 *                        node 7               node 3         '-- [Write a poem on]
 *
 * After Zheng et al. 2023, "RadixAttention" (arXiv:2312.07104), section 3, with one difference: an
 * edge of several blocks is a chain of nodes with one child each. The run that two prompts share
 * therefore needs no split when a third leaves it midway; it gets a second child. A node is cached
 * or evicted by itself, and what the tree knows of it are entries of columns indexed by its id.
 *
 * With one group of full attention a node's id is that of the block with its KV. With several
 * groups `NodeBlocks` has the blocks of each node; the tree knows of no blocks.
 *
 * A child is found by the hash of its path, scope and all tokens to its end, and then by comparing
 * parent and tokens, so a collision costs time and never serves the KV of other tokens. All
 * operations cost O(nodes walked); columns take 37 bytes per node and 4 per token position.
 */
export class RadixTree {
  readonly blockSize: number;
  /** Makes the hashes that {@link hashOf} tells. */
  readonly hasher: PathHasher;
  /** How often its nodes were found. */
  readonly usage: NodeUsage = new NodeUsage();
  readonly #keyer: BlockKeyer;
  /** Node id, or {@link rootParent}, or ABSENT. */
  #parents: Int32Array;
  /** 0 for nodes that are not in the tree. */
  #numChildren: Uint32Array;
  /** `[node][offset]`, valid for nodes in the tree. */
  #tokens: Uint32Array;
  /** The nodes by the hashes of their paths. */
  readonly #index: HashIndex;
  readonly #keys: BlockKeyColumn;
  readonly #roots = new ScopeRoots();
  #numNodes = 0;

  /** Empty, for the nodes `[0, capacity)`. */
  constructor(capacity: number, blockSize: number, keyer: BlockKeyer) {
    this.blockSize = blockSize;
    this.hasher = new PathHasher(blockSize);
    this.#keyer = keyer;
    this.#parents = new Int32Array(capacity).fill(ABSENT);
    this.#numChildren = new Uint32Array(capacity);
    this.#tokens = new Uint32Array(capacity * blockSize);
    this.#index = new HashIndex(capacity);
    this.#keys = new BlockKeyColumn(capacity);
  }

  /** Nodes in the tree. */
  get numNodes(): number {
    return this.#numNodes;
  }

  /** Node ids that the columns have room for. */
  get capacity(): number {
    return this.#parents.length;
  }

  /** Node above each node, or what {@link rootOf} reads, or {@link ABSENT}. Not to be written. */
  get parents(): Int32Array {
    return this.#parents;
  }

  /** Children of each node. Not to be written. */
  get childCounts(): Uint32Array {
    return this.#numChildren;
  }

  /** The scope of a root, by its number in {@link parents}. */
  scopeOfRoot(root: number): string {
    return this.#roots.scopeOf(root);
  }

  /** Whether node `id` is in the tree. */
  has(id: NodeId): boolean {
    return this.#parents[id] !== ABSENT;
  }

  /** The node above node `id`; undefined for the first of a path. */
  parentOf(id: NodeId): NodeId | undefined {
    const parent = this.#parents[id]!;
    return parent >= 0 ? parent : undefined;
  }

  /** Whether nothing hangs below node `id`. */
  isLeaf(id: NodeId): boolean {
    return this.#numChildren[id] === 0;
  }

  /** The tokens of node `id`; valid while it is in the tree. */
  tokensOf(id: NodeId): Uint32Array {
    return this.#tokens.subarray(id * this.blockSize, (id + 1) * this.blockSize);
  }

  /** A copy of the tokens of node `id`. */
  copyTokensOf(id: NodeId): Uint32Array {
    return this.#tokens.slice(id * this.blockSize, (id + 1) * this.blockSize);
  }

  /**
   * The nodes of the longest prefix of `tokens[0, limit)` within `scope` that the tree has, in
   * order of position. Changes nothing.
   */
  match(scope: string, tokens: Uint32Array, limit: number): NodeId[] {
    const nodes: NodeId[] = [];
    const root = this.#roots.find(scope);
    if (root === undefined) return nodes;
    let parent = rootParent(root);
    let hash = this.hasher.root(scope);
    for (let start = 0; start + this.blockSize <= limit; start += this.blockSize) {
      hash = this.hasher.child(hash, tokens, start);
      const node = this.#findChild({ parent, hash }, tokens, start);
      if (node === NONE) break;
      nodes.push(node);
      parent = node;
    }
    return nodes;
  }

  /**
   * How far {@link match} leads, from where it led `before`; undefined for nowhere. O(1) where that
   * node is still there and nothing has come below it, O(nodes of the match) where it is gone.
   *
   * A node whose id has been given to other tokens is taken for itself where the 32 bits of both
   * hashes agree: for orders and estimates, never to share a block.
   */
  follow(
    scope: string,
    tokens: Uint32Array,
    limit: number,
    before?: PathEnd,
  ): PathEnd | undefined {
    const root = this.#roots.find(scope);
    if (root === undefined) return undefined;
    const isThere = before !== undefined && this.has(before.node) &&
      this.hashOf(before.node) === before.hash;
    let end = isThere ? before : undefined;
    let hash = end?.hash ?? this.hasher.root(scope);
    let numNodes = end?.numNodes ?? 0;
    while ((numNodes + 1) * this.blockSize <= limit) {
      const start = numNodes * this.blockSize;
      hash = this.hasher.child(hash, tokens, start);
      const node = this.#findChild({ parent: end?.node ?? rootParent(root), hash }, tokens, start);
      if (node === NONE) break;
      end = { node, hash, numNodes: ++numNodes };
    }
    return end;
  }

  /** The child of that parent that has `tokens[start, start + blockSize)`, or undefined. */
  find({ scope, parent }: TreeParent, tokens: Uint32Array, start: number): NodeId | undefined {
    const root = this.#roots.find(scope);
    if (root === undefined) return undefined;
    const hash = this.hasher.child(this.#hashAbove(scope, parent), tokens, start);
    const node = this.#findChild({ parent: parent ?? rootParent(root), hash }, tokens, start);
    return node === NONE ? undefined : node;
  }

  /**
   * Puts node `id` below its parent, which has no child with `tokens[start, start + blockSize)`
   * yet.
   */
  insert({ scope, parent }: TreeParent, tokens: Uint32Array, start: number, id: NodeId): void {
    if (this.has(id)) throw new InvariantError(`node ${id} is in the tree already`);
    this.#tokens.set(tokens.subarray(start, start + this.blockSize), id * this.blockSize);
    this.#parents[id] = parent ?? rootParent(this.#roots.addChild(scope));
    if (parent !== undefined) this.#numChildren[parent]!++;
    this.#index.add(id, this.hasher.child(this.#hashAbove(scope, parent), tokens, start));
    this.#numNodes++;
  }

  /** Takes node `id`, a leaf, out of the tree. */
  remove(id: NodeId): void {
    if (!this.has(id) || !this.isLeaf(id)) {
      throw new InvariantError(`node ${id} is not a leaf of the tree`);
    }
    this.#index.remove(id);
    const parent = this.#parents[id]!;
    this.#parents[id] = ABSENT;
    this.#keys.delete(id);
    if (parent >= 0) this.#numChildren[parent]!--;
    else this.#roots.dropChild(rootOf(parent));
    this.usage.leave(id, parent >= 0 ? parent : undefined);
    this.#numNodes--;
  }

  /** Node `id` and all below it, each before its parent. O(1) for a leaf, else O(capacity). */
  subtreeOf(id: NodeId): NodeId[] {
    const nodes = [id];
    if (this.isLeaf(id)) return nodes;
    const children = Map.groupBy(this.#parents.keys(), (child) => this.#parents[child]!);
    for (const node of nodes) nodes.push(...children.get(node) ?? []);
    return nodes.reverse();
  }

  /** The key of the block that node `id` stands for; made at the first call, then O(1). */
  keyOf(id: NodeId): BlockKey {
    const missing: NodeId[] = [];
    let at: NodeId | undefined = id;
    let key: BlockKey | undefined;
    while (at !== undefined && (key = this.#keys.get(at)) === undefined) {
      missing.push(at);
      at = this.parentOf(at);
    }
    key ??= this.parentKeyOf(missing.at(-1)!);
    for (const node of missing.reverse()) {
      key = this.#keyer.childKey(key, this.tokensOf(node));
      this.#keys.set(node, key);
    }
    return key;
  }

  /** The key of what stands above node `id`: a block's, or that of the root of its scope. */
  parentKeyOf(id: NodeId): BlockKey {
    const parent = this.#parents[id]!;
    return parent >= 0
      ? this.keyOf(parent)
      : this.#keyer.rootKey(this.#roots.scopeOf(rootOf(parent)));
  }

  /**
   * The 32-bit hash of node `id`'s path: its scope and all tokens up to its end. It names contents
   * and outlives the node, within this tree alone.
   */
  hashOf(id: NodeId): number {
    return this.#index.hashOf(id);
  }

  /** Makes room for the ids below `capacity`, which are more than before. O(capacity). */
  grow(capacity: number): void {
    this.resize(new BlockRemap(capacity, []));
  }

  /** Takes the new capacity and ids; no node of the tree may be gone. O(capacity). */
  resize(remap: BlockRemap): void {
    const parents = remap.column(this.#parents, { fill: ABSENT });
    this.#parents = parents.map((parent) => parent >= 0 ? remap.idOf(parent) : parent);
    this.#numChildren = remap.column(this.#numChildren);
    this.#tokens = remap.column(this.#tokens, { width: this.blockSize });
    this.#keys.remap(remap);
    this.usage.remap(remap);
    this.#index.resize(remap, (id) => this.has(id));
  }

  /** Audit: every node is found below its parent, and children are counted. O(capacity). */
  checkIntegrity(): void {
    const numChildren = new Array<number>(this.#numChildren.length).fill(0);
    let numNodes = 0;
    let numTop = 0;
    for (let id = 0; id < this.#parents.length; id++) {
      const parent = this.#parents[id]!;
      if (parent === ABSENT) continue;
      numNodes++;
      if (parent >= 0) numChildren[parent]!++;
      else numTop++;
      if (parent >= 0 && !this.has(parent)) {
        throw new InvariantError(`node ${id} hangs below ${parent}, not in the tree`);
      }
      const start = id * this.blockSize;
      const above = parent >= 0
        ? this.#index.hashOf(parent)
        : this.hasher.root(this.#roots.scopeOf(rootOf(parent)));
      const hash = this.hasher.child(above, this.#tokens, start);
      const found = this.#findChild({ parent, hash }, this.#tokens, start);
      if (found !== id) {
        throw new InvariantError(`node ${id} is looked for and ${found} is found`);
      }
    }
    if (numNodes !== this.#numNodes) {
      throw new InvariantError(`${numNodes} nodes, not ${this.#numNodes}`);
    }
    for (let id = 0; id < numChildren.length; id++) {
      if (numChildren[id] !== this.#numChildren[id]) {
        throw new InvariantError(`node ${id} has ${numChildren[id]} children, counted otherwise`);
      }
    }
    if (numTop !== this.#roots.numChildren) {
      throw new InvariantError(
        `${numTop} first nodes under ${this.#roots.numScopes} scopes, counted otherwise`,
      );
    }
  }

  /**
   * The child of `parent` (a node or {@link rootParent}) with that path hash and tokens, or NONE.
   */
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

  /** The path hash of a parent, or of the root of `scope`. */
  #hashAbove(scope: string, parent: NodeId | undefined): number {
    return parent === undefined ? this.hasher.root(scope) : this.#index.hashOf(parent);
  }

  #holds(id: NodeId, tokens: Uint32Array, start: number): boolean {
    const own = id * this.blockSize;
    for (let i = 0; i < this.blockSize; i++) {
      if (this.#tokens[own + i] !== tokens[start + i]) return false;
    }
    return true;
  }
}
