import type { WaitCause } from "../core/kv_decision.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { DecisionListener } from "../kvcache/prefix/cache_listener.ts";
import type { SequenceGroup } from "./sequence_group.ts";

/**
 * Tells why groups are not admitted: the head of the queue and those that wait for a prefix in each
 * step, those behind the head once. Costs O(groups that have begun to wait since the last step).
 */
export class WaitReporter {
  readonly #onDecision: DecisionListener | undefined;
  /** Groups that wait and have not been told of. */
  #untold: SequenceGroup[] = [];
  /** Groups that have been told of in this step. */
  readonly #told = new Set<SequenceGroup>();

  constructor(onDecision: DecisionListener | undefined) {
    this.#onDecision = onDecision;
  }

  /** A group begins to wait. */
  begin(group: SequenceGroup): void {
    if (this.#onDecision !== undefined) this.#untold.push(group);
  }

  /** A group waits in this step. */
  report(group: SequenceGroup, cause: WaitCause): void {
    this.#onDecision?.({ type: "wait", sequenceId: group.id, ...cause });
    this.#told.add(group);
  }

  /** A group waits until another has computed a prefix that it can share. */
  reportSharing(
    group: SequenceGroup,
    reason: "shared_prefix" | "sibling_prompt",
    blocks: BlockManager,
  ): void {
    const { numFree, numIdle: numEvictable } = blocks;
    const numNeeded = blocks.numSlabsOf(group.numTokens);
    this.report(group, { reason, numNeeded, numFree, numEvictable });
  }

  /**
   * The step's admissions have ended at `head`, which waits; so do all behind it, `numWaiting` with
   * it.
   */
  endAt(head: SequenceGroup, numWaiting: number): void {
    this.#told.add(head);
    for (const group of this.#untold) {
      if (group.state !== "waiting" || this.#told.has(group)) continue;
      this.report(group, { reason: "queue", headId: head.id, numWaiting });
    }
    this.end();
  }

  /** The step's admissions have ended, and all that wait have been told of. */
  end(): void {
    this.#untold = [];
    this.#told.clear();
  }
}
