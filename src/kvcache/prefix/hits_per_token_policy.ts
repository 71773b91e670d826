import { invariant } from "../../base/invariant.ts";
import type { BlockId } from "../../core/ids.ts";
import type { BlockRemap } from "../pool/block_remap.ts";
import { BlockTournament } from "./block_tournament.ts";
import type { EvictionPolicy, ParentOf } from "./eviction_policy.ts";

/**
 * Evicts the run of blocks with the fewest hits per token, and among equals the one idle longest:
 * what is long and rarely found makes room for more prompts than what is short (SGLang's
 * size-aware order, sgl-project/sglang#30300).
 *
 *     uses    3   3   1   1   1       a run: blocks below one another that were used as often;
 *            [A]-[B]-[C]-[D]-[E]      C, D and E go for 1/3 each, before A and B for 3/2
 *
 * Being cached counts as the first use. A run is measured when its path is let go; hits that part
 * it later count from the next time on. Letting a path go costs O(path), all else O(log blocks).
 * Memory: 20.125 bytes per block.
 */
export class HitsPerTokenPolicy implements EvictionPolicy {
  readonly #parentOf: ParentOf;
  #numUses: Uint32Array;
  /** Blocks of the run that each block is of. */
  #runLengths: Uint32Array;
  /** When each block became idle, in events. */
  #stamps: Float64Array;
  readonly #victims: BlockTournament;
  #numEvents = 0;

  constructor(numBlocks: number, parentOf: ParentOf) {
    this.#parentOf = parentOf;
    this.#numUses = new Uint32Array(numBlocks).fill(1);
    this.#runLengths = new Uint32Array(numBlocks).fill(1);
    this.#stamps = new Float64Array(numBlocks);
    this.#victims = new BlockTournament(numBlocks, (a, b) => {
      // Uses per block, multiplied by both lengths.
      const difference = this.#numUses[a]! * this.#runLengths[b]! -
        this.#numUses[b]! * this.#runLengths[a]!;
      return difference === 0 ? this.#stamps[a]! < this.#stamps[b]! : difference < 0;
    });
  }

  becomeCached(id: BlockId): void {
    this.#numUses[id] = 1;
    this.#runLengths[id] = 1;
  }

  replace(before: BlockId, id: BlockId): void {
    this.#numUses[id] = this.#numUses[before]!;
    this.#runLengths[id] = this.#runLengths[before]!;
  }

  hit(id: BlockId): void {
    this.#numUses[id]!++;
  }

  setRetention(): void {}

  becomeIdle(id: BlockId, isLeaf: boolean): void {
    this.#stamps[id] = this.#numEvents++;
    if (!isLeaf) return;
    this.#measureRun(id);
    this.becomeLeaf(id);
  }

  becomeLeaf(id: BlockId): void {
    this.#victims.push(id);
  }

  remove(id: BlockId): void {
    if (this.#victims.has(id)) this.#victims.remove(id);
  }

  next(): BlockId {
    const victim = this.#victims.first;
    invariant(victim !== undefined, "nothing to evict");
    return victim;
  }

  resize(remap: BlockRemap): void {
    this.#numUses = remap.column(this.#numUses, { fill: 1 });
    this.#runLengths = remap.column(this.#runLengths, { fill: 1 });
    this.#stamps = remap.column(this.#stamps);
    this.#victims.remap(remap);
  }

  checkIntegrity(numIdle: number): void {
    this.#victims.checkIntegrity();
    const numVictims = this.#victims.length;
    invariant(
      numVictims <= numIdle && (numVictims > 0) === (numIdle > 0),
      `${numVictims} idle leaves among ${numIdle} idle blocks`,
    );
  }

  /**
   * Measures the run that ends at a leaf. Above a block of a window there may be some that became
   * idle before it: they are in the tournament, with the run that they were measured in.
   */
  #measureRun(leaf: BlockId): void {
    const run: BlockId[] = [];
    const numUses = this.#numUses[leaf]!;
    let id: BlockId | undefined = leaf;
    while (id !== undefined && this.#numUses[id] === numUses && !this.#victims.has(id)) {
      run.push(id);
      id = this.#parentOf(id);
    }
    for (const id of run) this.#runLengths[id] = run.length;
  }
}
