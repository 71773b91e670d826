import type { BlockRemap } from "../pool/block_remap.ts";

/** Hits that ended at a node. */
export interface NodeUse {
  readonly numHits: number;
  /** When the last of them was, ms of the tree's clock. */
  readonly lastMs: number;
}

/**
 * How often and when each node of a tree was hit; only leaves ever leave the tree.
 *
 *     hits that ended here        [A] 0 --- [B] 3 --- [C] 2        B was hit 5 times, 2 with C
 *
 * A hit is counted at its last node alone, in O(1); a node's hits are the sum over all that is
 * below it, and a leaf that goes leaves its own to its parent. Nothing is kept of nodes at which no
 * hit ended, which most are.
 */
export class NodeUsage {
  #uses = new Map<number, NodeUse>();

  /** The hits that ended at each node where any did. */
  get all(): ReadonlyMap<number, NodeUse> {
    return this.#uses;
  }

  /** A hit has ended at a node. */
  note(node: number, nowMs: number): void {
    const numHits = (this.#uses.get(node)?.numHits ?? 0) + 1;
    this.#uses.set(node, { numHits, lastMs: nowMs });
  }

  /** A leaf goes; absent `above`, it hangs below a root. */
  leave(node: number, above: number | undefined): void {
    const left = this.#uses.get(node);
    if (left === undefined) return;
    this.#uses.delete(node);
    if (above === undefined) return;
    const { numHits = 0, lastMs = 0 } = this.#uses.get(above) ?? {};
    const sum = { numHits: numHits + left.numHits, lastMs: Math.max(lastMs, left.lastMs) };
    this.#uses.set(above, sum);
  }

  /** Follows nodes to their new ids. O(nodes found). */
  remap(remap: BlockRemap): void {
    this.#uses = new Map([...this.#uses].map(([node, use]) => [remap.idOf(node), use]));
  }
}
