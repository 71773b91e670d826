import type { RecomputeReason, SwapEstimate } from "../core/kv_decision.ts";
import type { SwapCosts } from "../core/swap_space.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { DecisionListener } from "../kvcache/prefix/cache_listener.ts";
import type { Counters, Lookup } from "./counters.ts";
import type { SequenceGroup } from "./sequence_group.ts";

const MIB = 2 ** 20;

/** How fast what look-ups say is forgotten: of what there was, so much counts at the next. */
const DECAY = 7 / 8;

/** What a scheduler shares with its control of swaps. */
export interface SwapParts {
  readonly counters: Counters;
  readonly onDecision: DecisionListener | undefined;
}

/**
 * Decides whether the blocks of a sequence that is preempted go to host memory, or are computed
 * again: whichever takes less.
 *
 *     computing   tokens that the prefix cache is expected to lose * time of a token
 *     copying     bytes there, and of the part that is expected to be lost, back
 *
 * What others hold and the cache finds counts for neither. Of the rest the cache is expected to
 * keep what it had of the latest preempted sequences when they came back; before any has, nothing.
 * The times are measured by others and handed in.
 */
export class SwapControl {
  readonly #blocks: BlockManager;
  readonly #counters: Counters;
  readonly #onDecision: DecisionListener | undefined;
  #costs: SwapCosts | undefined;
  #numQueried = 0;
  #numKept = 0;
  /** Preempted groups whose KV the cache may keep, until they look it up. */
  #leftToCache = new WeakSet<SequenceGroup>();

  constructor(blocks: BlockManager, { counters, onDecision }: SwapParts) {
    this.#blocks = blocks;
    this.#counters = counters;
    this.#onDecision = onDecision;
  }

  /** Takes what copying and computing are measured to take. */
  setCosts(costs: SwapCosts): void {
    this.#costs = costs;
  }

  /**
   * A group that has lost its blocks has looked up its tokens. Where the engine before this one had
   * computed them, or their KV was not to be kept, that says nothing about what the cache keeps.
   */
  observeLookup(
    group: SequenceGroup,
    { numTokens, numHitTokens }: Pick<Lookup, "numTokens" | "numHitTokens">,
  ): void {
    if (!this.#leftToCache.delete(group)) return;
    this.#numQueried = DECAY * this.#numQueried + numTokens;
    this.#numKept = DECAY * this.#numKept + numHitTokens;
  }

  /** The prefix cache forgets all KV: what groups look up from now on it could not keep. */
  onCacheReset(): void {
    this.#leftToCache = new WeakSet();
  }

  /**
   * A running group is about to give its blocks back: has them copied to host memory by the next
   * plan, if that pays.
   *
   * @param isStale whether its KV would be wrong later.
   */
  preempt(group: SequenceGroup, isStale: boolean): void {
    const { swap } = this.#blocks;
    if (swap === undefined) return;
    const leader = group.members[0]!;
    if (isStale) {
      this.#leftToCache.delete(group);
      return this.#recompute(leader.id, "stale");
    }
    this.#leftToCache.add(group);
    const contents = group.numSeats > 1 ? undefined : this.#blocks.swapContents(leader.id);
    if (contents === undefined) return this.#recompute(leader.id, "unsupported");
    const counts = contents.entries.map(({ length }) => length);
    const numBlocks = counts.reduce((sum, count) => sum + count, 0);
    // Then the cache has all that was computed, and others hold it.
    if (numBlocks === 0) return;
    const bytes = swap.bytesOf(counts);
    const { numTokens, numSkipped } = contents;
    const estimate = this.#estimate(numTokens - numSkipped * this.#blocks.blockSize, bytes);
    if (estimate === undefined) return this.#recompute(leader.id, "unmeasured");
    if (estimate.recomputeMs <= estimate.swapMs) {
      return this.#recompute(leader.id, "cheaper", estimate);
    }
    if (!swap.fits(counts)) {
      this.#counters.countSwapRefused();
      return this.#recompute(leader.id, "full", estimate);
    }
    swap.store(leader.id, contents);
    this.#onDecision?.({ type: "swap_out", sequenceId: leader.id, numBlocks, ...estimate });
  }

  #estimate(numTokens: number, bytes: number): SwapEstimate | undefined {
    if (this.#costs === undefined) return undefined;
    const { tokenMs, storeMsPerMiB, loadMsPerMiB } = this.#costs;
    const lost = this.#numQueried === 0 ? 1 : 1 - this.#numKept / this.#numQueried;
    return {
      bytes,
      swapMs: bytes / MIB * (storeMsPerMiB + lost * loadMsPerMiB),
      recomputeMs: lost * numTokens * tokenMs,
    };
  }

  #recompute(sequenceId: number, reason: RecomputeReason, estimate?: SwapEstimate): void {
    this.#onDecision?.({ type: "recompute", sequenceId, reason, ...estimate });
  }
}
