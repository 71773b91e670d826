import { InvariantError } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";
import { NO_BLOCK } from "../../core/cache_group.ts";
import { BlockRemap } from "../pool/block_remap.ts";
import type { NodeId } from "./radix_tree.ts";

/** A block of a group that holds, or is to hold, what a node stands for. */
export interface NodeBlock {
  readonly node: NodeId;
  readonly group: number;
  readonly id: BlockId;
}

const NO_NODE = -1;

/**
 * Which block of which group holds what a node of the tree stands for, and whose path a node lies
 * on:
 *
 *     node       0     1     2     3
 *     full     [ 9 ] [ 4 ] [ 7 ] [ 8 ]
 *     window   [ - ] [ - ] [ 3 ] [ 1 ]     a tombstone where nothing is cached
 *     holders    2     2     1     0
 *
 * It exists where there are several groups, or one that does not keep every position. With one
 * group of full attention a node is its block. Nodes without a block stay while something hangs
 * below them, so their number is not bounded by that of the blocks, and columns grow. O(1) per
 * operation; 6 bytes per node, 4 per node and group, 4 per block, and the list of free ids.
 */
export class NodeBlocks {
  /** Block of each node, by group. */
  #blocks: Int32Array[];
  #numBlocks: Uint8Array;
  #numHolders: Uint32Array;
  /** 1 for nodes that are in the tree. */
  #isAttached: Uint8Array;
  /** Node of each block, or NO_NODE. */
  #nodes: Int32Array;
  #freeNodes: NodeId[] = [];
  #numNodes = 0;
  #numInUse = 0;
  #numNamed = 0;

  /** No nodes; for the blocks `[0, numBlocks)` of `numGroups` groups. */
  constructor(numBlocks: number, numGroups: number) {
    this.#blocks = Array.from({ length: numGroups }, () => new Int32Array(0));
    this.#numBlocks = new Uint8Array(0);
    this.#numHolders = new Uint32Array(0);
    this.#isAttached = new Uint8Array(0);
    this.#nodes = new Int32Array(numBlocks).fill(NO_NODE);
  }

  /** Node ids that the columns have room for. */
  get capacity(): number {
    return this.#numBlocks.length;
  }

  /** Blocks that stand for nodes. */
  get numBlocks(): number {
    return this.#numNamed;
  }

  /**
   * Node ids that are taken, those of nodes that have left the tree and are still held included.
   */
  get numInUse(): number {
    return this.#numInUse;
  }

  /** Takes an id for a node that enters the tree. The columns grow by themselves. */
  open(): NodeId {
    const node = this.#freeNodes.pop() ?? this.#numNodes++;
    if (node >= this.capacity) this.#grow(Math.max(64, 2 * this.capacity));
    this.#isAttached[node] = 1;
    this.#numInUse++;
    return node;
  }

  /**
   * Says that a node, which has no blocks, has left the tree. Its id is free once nobody holds it.
   */
  close(node: NodeId): void {
    if (!this.isEmpty(node)) throw new InvariantError(`node ${node} leaves with blocks`);
    this.#isAttached[node] = 0;
    if (this.#numHolders[node] === 0) this.#recycle(node);
  }

  /** Whether a node is in the tree. */
  isAttached(node: NodeId): boolean {
    return this.#isAttached[node] === 1;
  }

  /** The block of a node in one group, or NO_BLOCK. */
  blockOf(node: NodeId, group: number): BlockId {
    return this.#blocks[group]![node]!;
  }

  /** Whether a node has no block in any group. */
  isEmpty(node: NodeId): boolean {
    return this.#numBlocks[node] === 0;
  }

  /** Whether block `id` stands for a node. */
  isCached(id: BlockId): boolean {
    return this.#nodes[id] !== NO_NODE;
  }

  /** The node whose content block `id` holds; the block is cached. */
  nodeOf(id: BlockId): NodeId {
    return this.#nodes[id]!;
  }

  /** The group in which block `id` is cached; -1 for one that stands for no node. */
  groupOf(id: BlockId): number {
    const node = this.#nodes[id]!;
    return this.#blocks.findIndex((blocks) => blocks[node] === id);
  }

  /** Gives a node a block in a group where it has none. */
  set(node: NodeId, group: number, id: BlockId): void {
    if (this.#blocks[group]![node] !== NO_BLOCK || this.#nodes[id] !== NO_NODE) {
      throw new InvariantError(`node ${node} or block ${id} of group ${group} is taken`);
    }
    this.#blocks[group]![node] = id;
    this.#nodes[id] = node;
    this.#numBlocks[node]!++;
    this.#numNamed++;
  }

  /** Takes the block of a node in a group away. */
  clear(node: NodeId, group: number): void {
    const id = this.#blocks[group]![node]!;
    this.#blocks[group]![node] = NO_BLOCK;
    this.#nodes[id] = NO_NODE;
    this.#numBlocks[node]!--;
    this.#numNamed--;
  }

  /** Paths of sequences that a node lies on. */
  numHolders(node: NodeId): number {
    return this.#numHolders[node]!;
  }

  /** Whether a node lies on the path of a sequence. */
  isHeld(node: NodeId): boolean {
    return this.#numHolders[node]! > 0;
  }

  /** Puts a node on one more path; returns whether it is the first. */
  hold(node: NodeId): boolean {
    return this.#numHolders[node]!++ === 0;
  }

  /** Takes a node off one path; returns whether that was the last, and the node is in the tree. */
  unhold(node: NodeId): boolean {
    if (!this.isHeld(node)) throw new InvariantError(`node ${node} is let go twice`);
    if (--this.#numHolders[node]! > 0) return false;
    if (this.isAttached(node)) return true;
    this.#recycle(node);
    return false;
  }

  /** Follows blocks to their new ids. O(nodes + pool). */
  remap(remap: BlockRemap): void {
    this.#nodes = remap.column(this.#nodes, { fill: NO_NODE });
    for (const blocks of this.#blocks) {
      blocks.forEach((id, node) => {
        if (id !== NO_BLOCK) blocks[node] = remap.idOf(id);
      });
    }
  }

  /** Audit: blocks and nodes name each other. O(nodes + pool). */
  checkIntegrity(): void {
    let numNamed = 0;
    for (let node = 0; node < this.capacity; node++) {
      const numBlocks = this.#countBlocks(node);
      if (numBlocks !== this.#numBlocks[node]) {
        throw new InvariantError(`node ${node} has ${numBlocks} blocks, counted otherwise`);
      }
      numNamed += numBlocks;
    }
    let numOwned = 0;
    for (let id = 0; id < this.#nodes.length; id++) if (this.isCached(id)) numOwned++;
    if (numNamed !== numOwned || numNamed !== this.#numNamed) {
      throw new InvariantError(
        `${numOwned} blocks have a node, ${numNamed} are named, counted are ${this.#numNamed}`,
      );
    }
  }

  /** The blocks of a node, each of which has to name the node. */
  #countBlocks(node: NodeId): number {
    let count = 0;
    for (let group = 0; group < this.#blocks.length; group++) {
      const id = this.blockOf(node, group);
      if (id === NO_BLOCK) continue;
      if (this.#nodes[id] !== node) {
        throw new InvariantError(`block ${id} of group ${group} is not node ${node}'s`);
      }
      count++;
    }
    return count;
  }

  #recycle(node: NodeId): void {
    this.#freeNodes.push(node);
    this.#numInUse--;
  }

  #grow(capacity: number): void {
    const remap = new BlockRemap(capacity, []);
    this.#blocks = this.#blocks.map((blocks) => remap.column(blocks, { fill: NO_BLOCK }));
    this.#numBlocks = remap.column(this.#numBlocks);
    this.#numHolders = remap.column(this.#numHolders);
    this.#isAttached = remap.column(this.#isAttached);
  }
}
