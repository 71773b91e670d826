import type { ErrorData } from "../core/errors.ts";
import { invariant } from "../base/invariant.ts";
import type { Admission } from "../kvcache/admission.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import { addDemands, type Demand } from "../kvcache/pool/pool.ts";
import type { RequestId } from "../core/ids.ts";
import type { WaitCause } from "../core/kv_decision.ts";
import type { DecisionListener } from "../kvcache/prefix/cache_listener.ts";
import type { BatchPlan } from "./batch_plan.ts";
import type { Counters } from "./counters.ts";
import type { GrowthForecast } from "./growth_forecast.ts";
import { chooseSharing, type Sharing } from "./prefix_sharing.ts";
import type { Sequence } from "./sequence.ts";
import {
  admissionOptions,
  holdersOf,
  numBlocksMissing,
  type SequenceGroup,
} from "./sequence_group.ts";
import type { SequenceQueues } from "./sequence_queues.ts";
import type { SwapControl } from "./swap_control.ts";
import { WaitReporter } from "./wait_reporter.ts";

/** A request that can never fit, even in an empty pool, and the error that it ends with. */
export interface Impossible {
  readonly group: SequenceGroup;
  readonly error: ErrorData;
}

/** Is shown the tokens of a sequence and the scope they may be found in (empty: the open one). */
export type TokensListener = (scope: string, tokens: Uint32Array) => void;

/** The scope and the tokens of a sequence, as listeners take them. */
export function seenBy(
  { caching, allTokens }: Pick<Sequence, "caching" | "allTokens">,
): Parameters<TokensListener> {
  return [caching.scope ?? "", allTokens];
}

/** The limits that admissions keep. */
export interface AdmissionLimits {
  /** Most sequences in one step. */
  readonly maxNumSeqs: number;
  /** Most tokens in one step. */
  readonly maxNumBatchedTokens: number;
  /** As of {@link SchedulerOptions}. */
  readonly longPrefillTokenThreshold?: number;
  readonly maxLongPartialPrefills?: number;
  readonly onDecision?: DecisionListener;
  readonly onPrompt?: TokensListener;
}

/** What a scheduler shares with its admissions. */
export interface AdmissionParts {
  readonly queues: SequenceQueues;
  readonly counters: Counters;
  readonly growth: GrowthForecast;
  readonly swaps: SwapControl;
}

/**
 * Admits groups that wait, in the policy's order.
 *
 * A group that does not fit blocks those behind it, so that no smaller one takes its blocks. Only a
 * group that waits for a prefix which is being computed, or for its turn among long prompts, is
 * overtaken.
 */
export class AdmissionControl {
  readonly #blocks: BlockManager;
  readonly #limits: AdmissionLimits;
  readonly #queues: SequenceQueues;
  readonly #counters: Counters;
  readonly #growth: GrowthForecast;
  readonly #swaps: SwapControl;
  readonly #waits: WaitReporter;
  #impossible: Impossible[] = [];
  /** Requests of the groups that the latest `fill` has admitted, until they are taken. */
  readonly #admitted = new Set<RequestId>();
  #blocked: SequenceGroup | undefined;
  #numPassedOver = 0;
  /** The first group that the latest `fill` has not admitted. */
  #head: SequenceGroup | undefined;

  /** Works on the scheduler's own queues and counters. */
  constructor(
    blocks: BlockManager,
    limits: AdmissionLimits,
    { queues, counters, growth, swaps }: AdmissionParts,
  ) {
    this.#blocks = blocks;
    this.#limits = limits;
    this.#queues = queues;
    this.#counters = counters;
    this.#growth = growth;
    this.#swaps = swaps;
    this.#waits = new WaitReporter(limits.onDecision);
  }

  /** The group whose blocks the latest `fill` lacked, which ended it; undefined when none did. */
  get blocked(): SequenceGroup | undefined {
    return this.#blocked;
  }

  /** Groups that the latest `fill` has passed over, since they wait for others to get on. */
  get numDeferred(): number {
    return this.#numPassedOver;
  }

  /** A group has been queued, or preempted. */
  noteWaiting(group: SequenceGroup): void {
    this.#waits.note(group);
  }

  /** Admits as many groups as seats, blocks and the rest of the plan's budget allow. */
  fill(plan: BatchPlan): void {
    const turns = this.#queues.takeTurns();
    this.#blocked = undefined;
    this.#head = undefined;
    this.#numPassedOver = 0;
    this.#admitted.clear();
    for (;;) {
      const group = turns.next;
      if (group === undefined) return this.#waits.end();
      const shortage = this.#shortage(group, plan);
      if (shortage !== undefined) {
        this.#head ??= group;
        this.#waits.report(group, shortage);
        return this.#waits.endAt(group, this.#queues.numWaiting);
      }
      const longPrefills = this.#longPrefills(group);
      if (longPrefills !== undefined) {
        this.#waits.report(group, longPrefills);
        this.#head ??= group;
        this.#numPassedOver++;
        turns.passOver();
        continue;
      }
      const sharing = this.#chooseSharing(group);
      if (sharing.type === "wait") {
        this.#waits.reportSharing(group, sharing.reason, this.#blocks);
        this.#head ??= group;
        this.#numPassedOver++;
        turns.passOver();
      } else {
        const admission = this.#tryAdmit(group, sharing);
        if (admission === undefined) {
          this.#blocked = group;
          this.#head ??= group;
          if (this.#impossible.length > 0) return;
          return this.#waits.endAt(group, this.#queues.numWaiting);
        }
        this.#start(group, admission, plan);
      }
    }
  }

  /**
   * Why the first group that the latest `fill` has not admitted waits, or the first of all;
   * undefined where none does, or nothing keeps it. Takes no turn of the policy, whose records that
   * would change, and with them plans to come. O(its tokens).
   */
  explainHead(): { readonly group: SequenceGroup; readonly cause: WaitCause } | undefined {
    const [first] = this.#queues.waiting;
    const group = this.#head?.state === "waiting" ? this.#head : first;
    const cause = group && (this.#seatShortage(group.numSeats) ?? this.#longPrefills(group) ??
      this.#explainBlocks(group));
    return cause && { group: group!, cause };
  }

  #explainBlocks(group: SequenceGroup): WaitCause | undefined {
    const { numFree, numIdle: numEvictable } = this.#blocks;
    const numNeeded = this.#blocks.numSlabsOf(group.numTokens);
    const numLeftOver = this.#blocks.numLeftOver(this.#numKeptFor(group));
    const kept = numLeftOver > 0 ? { numKept: numLeftOver } : {};
    const numbers = { numNeeded, numFree, numEvictable, ...kept };
    const sharing = this.#chooseSharing(group);
    if (sharing.type === "wait") return { reason: sharing.reason, ...numbers };
    return this.numMissing(group) > 0 ? { reason: "blocks", ...numbers } : undefined;
  }

  /** Blocks that a group lacks to be admitted, and those it has to leave over among them. */
  numMissing(group: SequenceGroup): number {
    return numBlocksMissing(group, this.#blocks, this.#numKeptFor(group));
  }

  /** Whether a group that waits has a seat and its blocks in the step that is to be planned. */
  fits(group: SequenceGroup): boolean {
    if (this.#seatShortage(group.numSeats) !== undefined) return false;
    return numBlocksMissing(
      group,
      this.#blocks,
      this.#numKeptBeside(this.#queues.running, group),
    ) === 0;
  }

  /**
   * Whether it would, as far as counts tell, if some that run gave theirs back; not where it waits
   * for others to get on.
   */
  wouldFit(group: SequenceGroup, victims: readonly SequenceGroup[]): boolean {
    if (this.#longPrefills(group) !== undefined) return false;
    if (this.#chooseSharing(group).type === "wait") return false;
    const others = this.#queues.running.filter((other) => !victims.includes(other));
    const numTaken = others.reduce((sum, { numSeats }) => sum + numSeats, 0);
    const { maxNumSeqs, maxNumBatchedTokens } = this.#limits;
    if (numTaken + group.numSeats > Math.min(maxNumSeqs, maxNumBatchedTokens)) return false;
    const numFreed = victims.flatMap(holdersOf)
      .reduce((sum, { id }) => sum + this.#blocks.numHeldBy(id), 0);
    const numKept = this.#numKeptBeside(others, group);
    return numBlocksMissing(group, this.#blocks, numKept) <= numFreed;
  }

  /** Blocks that those that run take in the next step, or more of them before they end. */
  #numKeptBeside(running: readonly SequenceGroup[], group: SequenceGroup): number {
    if (running.length === 0) return 0;
    const none: Demand = this.#blocks.groups.map(() => 0);
    const demand = running.reduce(
      (sum, other) => addDemands(sum, other.blockDemand(this.#blocks)),
      none,
    );
    const growth = this.#growth.peakGrowth(running, group);
    return Math.max(growth, this.#blocks.numSlabsFor(demand));
  }

  /** Returns those found impossible, once; the caller ends them. */
  takeImpossible(): readonly Impossible[] {
    const impossible = this.#impossible;
    this.#impossible = [];
    return impossible;
  }

  /** Returns the requests of which the latest `fill` has admitted groups, once. */
  takeAdmitted(): readonly RequestId[] {
    if (this.#admitted.size === 0) return [];
    const admitted = [...this.#admitted];
    this.#admitted.clear();
    return admitted;
  }

  /** The seats or tokens that a group lacks to advance in each step beside all that run. */
  #shortage({ numSeats: numNeeded }: SequenceGroup, plan: BatchPlan): WaitCause | undefined {
    if (plan.isFull) return { reason: "tokens", limit: plan.numTokens };
    return this.#seatShortage(numNeeded);
  }

  #seatShortage(numNeeded: number): WaitCause | undefined {
    const { running } = this.#queues;
    const { maxNumSeqs, maxNumBatchedTokens } = this.#limits;
    const latest = running.at(-1);
    // It computes more tokens than it has seats, so it has to stay the latest admitted.
    if (latest?.isCatchingUp) {
      const isSearch = latest.numSeats > 1;
      return isSearch
        ? { reason: "recomputation", searchId: latest.id }
        : { reason: "state_snapshot", promptId: latest.id };
    }
    const numTaken = running.reduce((sum, other) => sum + other.numSeats, 0);
    const limit = Math.min(maxNumSeqs, maxNumBatchedTokens);
    if (numTaken + numNeeded <= limit) return undefined;
    return { reason: "seats", numNeeded, numTaken, limit };
  }

  #chooseSharing(group: SequenceGroup): Sharing {
    const { running } = this.#queues;
    const siblings = this.#queues.ofRequest(group.requestId);
    return chooseSharing(group, { running, siblings }, this.#blocks);
  }

  /** The long prompts that are computed and keep another long one waiting. */
  #longPrefills(group: SequenceGroup): WaitCause | undefined {
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

  #tryAdmit(group: SequenceGroup, sharing: Exclude<Sharing, { type: "wait" }>) {
    const { id, numTokens, caching } = group;
    const numKept = this.#numKeptFor(group);
    const admission = sharing.type === "fork"
      ? this.#blocks.tryFork(id, { source: sharing.source.id, numTokens, numKept }, caching)
      : this.#tryAdmitAlone(group, numKept);
    if (admission === undefined && this.#queues.running.length === 0) {
      // No group runs that would give blocks back.
      this.#impossible.push({ group, error: group.outOfBlocks(this.#blocks) });
    }
    return admission;
  }

  #tryAdmitAlone(group: SequenceGroup, numKept: number): Admission | undefined {
    const { id, allTokens } = group.members[0]!;
    return this.#blocks.tryAdmit(id, allTokens, admissionOptions(group, this.#blocks, numKept));
  }

  /** Blocks that an admission of a group leaves over for what it and those that run grow by. */
  #numKeptFor(group: SequenceGroup): number {
    const { running } = this.#queues;
    return running.length === 0 ? 0 : this.#growth.peakGrowth(running, group);
  }

  #start(group: SequenceGroup, admission: Admission, plan: BatchPlan): void {
    const { numCachedTokens, numLoadedTokens = 0, numEvictedTokens, evictedAgoMs } = admission;
    const { copies, chunkEnds } = admission;
    this.#queues.admit(group);
    this.#admitted.add(group.requestId);
    group.members[0]!.chunkEnds = chunkEnds;
    group.start(numCachedTokens + numLoadedTokens);
    group.numOutputTokensAtStart = group.members[0]!.numOutputTokens;
    if (group.numPreemptions === 0) {
      // Siblings share one prompt without asking the cache.
      const isPrompt = group.index === group.promptIndex && !group.isReheat;
      if (isPrompt) this.#limits.onPrompt?.(...seenBy(group));
      for (const answer of group.answers) {
        answer.numCachedTokens = numCachedTokens;
        if (evictedAgoMs !== undefined) {
          answer.evicted = { numTokens: numEvictedTokens, agoMs: evictedAgoMs };
        }
      }
    }
    this.#countLookup(group, admission);
    for (const copy of copies) plan.addCopy(copy);
    const hasGrown = group.tryGrow(plan, this.#blocks);
    invariant(
      hasGrown,
      `group ${group.id} is admitted and lacks blocks: it needs ${
        group.blockDemand(this.#blocks)
      }, ` +
        `${this.#blocks.numFree} are free and ${this.#blocks.numIdle} cached`,
    );
    group.addTo(plan, this.#blocks);
  }

  #countLookup(group: SequenceGroup, { isLookup, ...found }: Admission): void {
    if (!isLookup || group.isReheat) return;
    const { numCachedTokens: numHitTokens, numEvictedTokens } = found;
    const { numTokens } = group.members[0]!;
    const lookup = { numTokens, numHitTokens, numEvictedTokens, blockSize: this.#blocks.blockSize };
    if (group.numPreemptions === 0) this.#counters.countLookup(lookup);
    else {
      this.#counters.countLookupAgain(lookup);
      this.#swaps.noteLookup(group, lookup);
    }
  }
}
