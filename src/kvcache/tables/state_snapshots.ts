import { NO_BLOCK } from "../../core/cache_group.ts";
import type { BlockId, SequenceId } from "../../core/ids.ts";
import type { PrefixCache } from "../prefix/prefix_cache.ts";
import type { CopyQueue } from "./copy_queue.ts";
import { GroupPath } from "./group_path.ts";
import type { SequenceBlocks } from "./sequence_blocks.ts";
import type { NodeId } from "../prefix/radix_tree.ts";

/**
 * Keeps states where a later prompt can go on from them.
 *
 * A state is one block that each step overwrites, so what is to be kept is copied to a block of the
 * cache before the next step: at the end of the prompt, at junctions, and while the answer grows at
 * its last block boundary, where each snapshot replaces the one before. The end of a sequence on a
 * boundary needs no copy: its own block stays. Without room there is no snapshot.
 */
export class StateSnapshots {
  readonly #cache: PrefixCache;
  readonly #copies: CopyQueue;
  /** The groups of states. */
  readonly #groups: readonly number[];

  constructor(cache: PrefixCache, copies: CopyQueue) {
    this.#cache = cache;
    this.#copies = copies;
    this.#groups = cache.groups.flatMap(({ kind }, group) => kind === "state" ? [group] : []);
  }

  /** The computed positions of a sequence have grown; no step with it is in flight. */
  update(id: SequenceId, sequence: SequenceBlocks): void {
    const { path } = sequence;
    if (this.#groups.length === 0 || !(path instanceof GroupPath)) return;
    const node = this.#nodeOf(sequence, path);
    if (node === undefined || !path.wantsSnapshot(sequence.numComputedTokens)) return;
    path.dropMovingSnapshots();
    for (const group of this.#groups) this.#snapshot(id, sequence, { node, group, path });
  }

  /** A sequence ends, and its path has entered all that it could. */
  end(sequence: SequenceBlocks): void {
    const { path, tables } = sequence;
    for (const group of this.#groups) {
      const own = tables[group]![0]!;
      const node = path instanceof GroupPath ? this.#nodeOf(sequence, path) : undefined;
      this.#copies.forgetSource(own);
      this.drop(own);
      if (node === undefined || !(path instanceof GroupPath)) continue;
      if (this.#cache.columns!.blockOf(node, group) !== NO_BLOCK) continue;
      path.dropMovingSnapshots();
      this.#cache.groupNodes!.setBlock({ node, group, id: own }, path.caching);
    }
  }

  /**
   * Cancels the snapshots that no step has taken yet, of the state in block `from` or of all;
   * returns whether there were any.
   */
  drop(from?: BlockId): boolean {
    const dropped = this.#copies.cancel(from);
    for (const { to } of dropped) {
      this.#cache.groupNodes!.forgetBlock(to);
      this.#cache.release([to]);
    }
    return dropped.length > 0;
  }

  #snapshot(
    id: SequenceId,
    { tables, numComputedTokens }: SequenceBlocks,
    { node, group, path }: { node: NodeId; group: number; path: GroupPath },
  ): void {
    if (this.#cache.columns!.blockOf(node, group) !== NO_BLOCK) return;
    const demand = tables.map((_, other) => other === group ? 1 : 0);
    if (this.#cache.countMissing({ demand }) > 0) return;
    const to = this.#cache.take(demand, id)[group]![0]!;
    // Making room may have cost the path a node, be it this one.
    if (!this.#cache.has(node)) return this.#cache.release([to]);
    this.#cache.groupNodes!.setBlock({ node, group, id: to }, path.caching);
    path.noteSnapshot({ node, group, id: to }, numComputedTokens);
    this.#copies.addSnapshot({ group, from: tables[group]![0]!, to });
  }

  #nodeOf({ numComputedTokens }: SequenceBlocks, path: GroupPath): NodeId | undefined {
    const isBoundary = numComputedTokens > 0 && numComputedTokens % this.#cache.blockSize === 0;
    return isBoundary ? path.nodeAt(numComputedTokens) : undefined;
  }
}
