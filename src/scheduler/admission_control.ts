import { invariant } from "../base/invariant.ts";
import type { ErrorData } from "../core/errors.ts";
import type { RequestId } from "../core/ids.ts";
import type { WaitCause } from "../core/kv_decision.ts";
import type { Admission } from "../kvcache/admission.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { AdmissionGate } from "./admission_gate.ts";
import type { BatchPlan } from "./batch_plan.ts";
import type { Counters } from "./counters.ts";
import type { AdmissionTurns } from "./policies/admission_turns.ts";
import type { Sharing } from "./prefix_sharing.ts";
import { type SchedulerOptions, seenBy } from "./scheduler_options.ts";
import { admissionOptions, type SequenceGroup } from "./sequence_group.ts";
import type { SequenceQueues } from "./sequence_queues.ts";
import type { SwapControl } from "./swap_control.ts";
import { WaitReporter } from "./wait_reporter.ts";

/** A request that does not fit though no other runs, and the error that it ends with. */
export interface Impossible {
  readonly group: SequenceGroup;
  readonly error: ErrorData;
}

/** What a scheduler shares with its admissions. */
export interface AdmissionParts {
  readonly queues: SequenceQueues;
  readonly counters: Counters;
  readonly gate: AdmissionGate;
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
  readonly #onPrompt: SchedulerOptions["onPrompt"];
  readonly #queues: SequenceQueues;
  readonly #counters: Counters;
  readonly #gate: AdmissionGate;
  readonly #swaps: SwapControl;
  readonly #waits: WaitReporter;
  #impossible: Impossible[] = [];
  /** Requests of the groups that the latest `fill` has admitted, until they are taken. */
  readonly #admitted = new Set<RequestId>();
  #blocked: SequenceGroup | undefined;
  #numDeferred = 0;
  /** The first group that the latest `fill` has not admitted. */
  #head: SequenceGroup | undefined;

  /** Works on the scheduler's own queues and counters. */
  constructor(
    blocks: BlockManager,
    { onDecision, onPrompt }: Pick<SchedulerOptions, "onDecision" | "onPrompt">,
    { queues, counters, gate, swaps }: AdmissionParts,
  ) {
    this.#blocks = blocks;
    this.#onPrompt = onPrompt;
    this.#queues = queues;
    this.#counters = counters;
    this.#gate = gate;
    this.#swaps = swaps;
    this.#waits = new WaitReporter(onDecision);
  }

  /** The group whose blocks the latest `fill` lacked, which ended it; undefined when none did. */
  get blocked(): SequenceGroup | undefined {
    return this.#blocked;
  }

  /** Groups that the latest `fill` has passed over, since they wait for others to get on. */
  get numDeferred(): number {
    return this.#numDeferred;
  }

  /** A group has been queued, or preempted. */
  beginWait(group: SequenceGroup): void {
    this.#waits.begin(group);
  }

  /** Admits as many groups as seats, blocks and the rest of the plan's budget allow. */
  fill(plan: BatchPlan): void {
    const turns = this.#queues.takeTurns();
    this.#blocked = undefined;
    this.#head = undefined;
    this.#numDeferred = 0;
    this.#admitted.clear();
    for (let group = turns.next; group !== undefined; group = turns.next) {
      const wait = this.#waitBefore(group, plan);
      if (wait !== undefined) {
        this.#waits.report(group, wait);
        return this.#endAt(group);
      }
      const longPrefills = this.#gate.longPrefills(group);
      if (longPrefills !== undefined) {
        this.#waits.report(group, longPrefills);
        this.#passOver(turns, group);
        continue;
      }
      const sharing = this.#gate.chooseSharing(group);
      if (sharing.type === "wait") {
        this.#waits.reportSharing(group, sharing.reason, this.#blocks);
        this.#passOver(turns, group);
        continue;
      }
      const admission = this.#tryAdmit(group, sharing);
      if (admission === undefined) {
        this.#blocked = group;
        return this.#endAt(group);
      }
      this.#start(group, admission, plan);
    }
    this.#waits.end();
  }

  /**
   * Why the first group that the latest `fill` has not admitted waits, or the first of all;
   * undefined where none does, or nothing keeps it. Takes no turn of the policy, whose records that
   * would change, and with them plans to come. O(its tokens).
   */
  explainHead(): { readonly group: SequenceGroup; readonly cause: WaitCause } | undefined {
    const [first] = this.#queues.waiting;
    const group = this.#head?.state === "waiting" ? this.#head : first;
    const cause = group && this.#gate.explain(group);
    return cause && { group: group!, cause };
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

  /** The tokens or the seats that a group lacks, and all those behind it. */
  #waitBefore(group: SequenceGroup, plan: BatchPlan): WaitCause | undefined {
    if (plan.isFull) return { reason: "tokens", limit: plan.numTokens };
    return this.#gate.seatShortage(group);
  }

  /** Leaves a group waiting for others to get on; those behind it are tried. */
  #passOver(turns: AdmissionTurns, group: SequenceGroup): void {
    this.#head ??= group;
    this.#numDeferred++;
    turns.passOver();
  }

  /** The step admits no more: `group` waits, and those behind it, unless it ends at once. */
  #endAt(group: SequenceGroup): void {
    this.#head ??= group;
    if (this.#impossible.length === 0) this.#waits.endAt(group, this.#queues.numWaiting);
  }

  #tryAdmit(group: SequenceGroup, sharing: Exclude<Sharing, { type: "wait" }>) {
    const { id, numTokens, caching } = group;
    const numHeadroomSlabs = this.#gate.headroomFor(group);
    const admission = sharing.type === "fork"
      ? this.#blocks.tryFork(
        id,
        { source: sharing.source.id, numTokens, numHeadroomSlabs },
        caching,
      )
      : this.#tryAdmitAlone(group, numHeadroomSlabs);
    if (admission === undefined && this.#queues.running.length === 0) {
      // No group runs that would give blocks back.
      this.#impossible.push({ group, error: group.outOfBlocks(this.#blocks) });
    }
    return admission;
  }

  #tryAdmitAlone(group: SequenceGroup, numHeadroomSlabs: number): Admission | undefined {
    const { id, allTokens } = group.members[0]!;
    return this.#blocks.tryAdmit(
      id,
      allTokens,
      admissionOptions(group, this.#blocks, numHeadroomSlabs),
    );
  }

  #start(group: SequenceGroup, admission: Admission, plan: BatchPlan): void {
    const { numCachedTokens, numLoadedTokens = 0, numEvictedTokens, evictedAgoMs } = admission;
    const { copies, chunkEnds } = admission;
    this.#queues.admit(group);
    this.#admitted.add(group.requestId);
    group.members[0]!.chunkEnds = chunkEnds;
    group.start(numCachedTokens + numLoadedTokens);
    group.numOutputTokensAtAdmission = group.members[0]!.numOutputTokens;
    if (group.numPreemptions === 0) {
      // Siblings share one prompt without asking the cache.
      const isPrompt = group.index === group.promptIndex && !group.isReheat;
      if (isPrompt) this.#onPrompt?.(...seenBy(group));
      for (const answer of group.answers) {
        answer.numCachedTokens = numCachedTokens;
        if (evictedAgoMs !== undefined) {
          answer.evicted = { numTokens: numEvictedTokens, agoMs: evictedAgoMs };
        }
      }
    }
    this.#countLookup(group, admission);
    for (const copy of copies) plan.addCopy(copy);
    const hasExtended = group.tryExtend(plan, this.#blocks);
    invariant(
      hasExtended,
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
      this.#swaps.observeLookup(group, lookup);
    }
  }
}
