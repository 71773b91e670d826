import type { WaitCause } from "../core/kv_decision.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { GrowthForecast } from "./growth_forecast.ts";
import { chooseSharing, type Sharing } from "./prefix_sharing.ts";
import type { SchedulerOptions } from "./scheduler_options.ts";
import { holdersOf, numMissingToAdmit, type SequenceGroup, totalDemand } from "./sequence_group.ts";
import type { SequenceQueues } from "./sequence_queues.ts";

/** The limits that admissions keep. */
type AdmissionLimits = Pick<
  SchedulerOptions,
  "maxNumSeqs" | "maxNumBatchedTokens" | "longPrefillTokenThreshold" | "maxLongPartialPrefills"
>;

/** What a scheduler shares with the gate. */
export interface GateParts {
  readonly queues: SequenceQueues;
  readonly growth: GrowthForecast;
}

/**
 * What a group that waits lacks to be admitted: a seat, its turn among long prompts, a prefix that
 * another computes, blocks. It only looks; admissions and preemptions follow from what it says.
 */
export class AdmissionGate {
  readonly #blocks: BlockManager;
  readonly #limits: AdmissionLimits;
  readonly #queues: SequenceQueues;
  readonly #growth: GrowthForecast;

  /** Looks at the scheduler's own queues. */
  constructor(blocks: BlockManager, limits: AdmissionLimits, { queues, growth }: GateParts) {
    this.#blocks = blocks;
    this.#limits = limits;
    this.#queues = queues;
    this.#growth = growth;
  }

  /** The seats that a group lacks to advance in each step beside `running`; default: all. */
  seatShortage(
    { numSeats: numNeeded }: SequenceGroup,
    running: readonly SequenceGroup[] = this.#queues.running,
  ): WaitCause | undefined {
    const latest = running.at(-1);
    // It computes more tokens than it has seats, so it has to stay the latest admitted.
    if (latest?.isCatchingUp) {
      const isSearch = latest.numSeats > 1;
      return isSearch
        ? { reason: "recomputation", searchId: latest.id }
        : { reason: "state_snapshot", promptId: latest.id };
    }
    const numTaken = running.reduce((sum, { numSeats }) => sum + numSeats, 0);
    const limit = Math.min(this.#limits.maxNumSeqs, this.#limits.maxNumBatchedTokens);
    if (numTaken + numNeeded <= limit) return undefined;
    return { reason: "seats", numNeeded, numTaken, limit };
  }

  /** The long prompts that are computed and keep another long one waiting. */
  longPrefills(group: SequenceGroup): WaitCause | undefined {
    const { longPrefillTokenThreshold: threshold, maxLongPartialPrefills: limit = 1 } =
      this.#limits;
    if (threshold === undefined || group.numTokens <= threshold) return undefined;
    const numLong =
      this.#queues.running.filter(({ members }) => members[0]!.numUncomputedTokens > threshold)
        .length;
    if (numLong < limit) return undefined;
    const numCached = this.#blocks.numTokensCached(group.allTokens, group.caching.scope);
    if (group.numTokens - numCached <= threshold) return undefined;
    return { reason: "long_prefills", numLong, limit, threshold };
  }

  /** How a group comes to the KV of its prompt; perhaps by waiting for another. */
  chooseSharing(group: SequenceGroup): Sharing {
    const { running } = this.#queues;
    const siblings = this.#queues.ofRequest(group.requestId);
    return chooseSharing(group, { running, siblings }, this.#blocks);
  }

  /** Blocks that an admission of a group leaves over for what it and those that run grow by. */
  headroomFor(group: SequenceGroup): number {
    const { running } = this.#queues;
    return running.length === 0 ? 0 : this.#growth.peakGrowth(running, group);
  }

  /** Blocks that a group lacks to be admitted, and those it has to leave over among them. */
  numMissing(group: SequenceGroup): number {
    return numMissingToAdmit(group, this.#blocks, this.headroomFor(group));
  }

  /** Why a group waits, the tokens of a step aside; undefined where nothing keeps it. */
  explain(group: SequenceGroup): WaitCause | undefined {
    return this.seatShortage(group) ?? this.longPrefills(group) ?? this.#explainBlocks(group);
  }

  /** Whether a group that waits has a seat and its blocks in the step that is to be planned. */
  fits(group: SequenceGroup): boolean {
    if (this.seatShortage(group) !== undefined) return false;
    const numHeadroomSlabs = this.#headroomBeside(this.#queues.running, group);
    return numMissingToAdmit(group, this.#blocks, numHeadroomSlabs) === 0;
  }

  /**
   * Whether a group would have them, as far as counts tell, if `victims`, which run, gave theirs
   * back; not where it waits for others to get on.
   */
  wouldFit(group: SequenceGroup, victims: readonly SequenceGroup[]): boolean {
    if (this.longPrefills(group) !== undefined) return false;
    if (this.chooseSharing(group).type === "wait") return false;
    const others = this.#queues.running.filter((other) => !victims.includes(other));
    if (this.seatShortage(group, others) !== undefined) return false;
    const numFreed = victims.flatMap(holdersOf)
      .reduce((sum, { id }) => sum + this.#blocks.numHeldBy(id), 0);
    const numHeadroomSlabs = this.#headroomBeside(others, group);
    return numMissingToAdmit(group, this.#blocks, numHeadroomSlabs) <= numFreed;
  }

  #explainBlocks(group: SequenceGroup): WaitCause | undefined {
    const { numFree, numIdle: numEvictable } = this.#blocks;
    const numNeeded = this.#blocks.numSlabsOf(group.numTokens);
    const headroom = this.#blocks.headroomFor(this.headroomFor(group));
    const kept = headroom > 0 ? { numHeadroomSlabs: headroom } : {};
    const numbers = { numNeeded, numFree, numEvictable, ...kept };
    const sharing = this.chooseSharing(group);
    if (sharing.type === "wait") return { reason: sharing.reason, ...numbers };
    return this.numMissing(group) > 0 ? { reason: "blocks", ...numbers } : undefined;
  }

  /** Blocks that those that run take in the next step, or more of them before they end. */
  #headroomBeside(running: readonly SequenceGroup[], group: SequenceGroup): number {
    if (running.length === 0) return 0;
    const growth = this.#growth.peakGrowth(running, group);
    return Math.max(growth, this.#blocks.numSlabsFor(totalDemand(running, this.#blocks)));
  }
}
