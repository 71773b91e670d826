import type { PreemptCause } from "../core/kv_decision.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { CachingOptions } from "../kvcache/tables/sequence_path.ts";
import type { AdmissionControl } from "./admission_control.ts";
import type { AdmissionGate } from "./admission_gate.ts";
import type { BatchPlan } from "./batch_plan.ts";
import type { Counters } from "./counters.ts";
import { type GrowthForecast, MIN_TOKENS_BETWEEN_PREEMPTIONS } from "./growth_forecast.ts";
import { cachingAtLength } from "./make_sequence_groups.ts";
import type { SchedulingPolicy } from "./policies/scheduling_policy.ts";
import type { SchedulerOptions } from "./scheduler_options.ts";
import { holdersOf, type SequenceGroup } from "./sequence_group.ts";
import type { SequenceQueues } from "./sequence_queues.ts";
import type { StepCommit } from "./step_commit.ts";
import type { SwapControl } from "./swap_control.ts";

/** What a scheduler shares with the control of what runs. */
export interface RunningParts {
  readonly queues: SequenceQueues;
  readonly counters: Counters;
  readonly growth: GrowthForecast;
  readonly policy: SchedulingPolicy;
  readonly gate: AdmissionGate;
  readonly admissions: AdmissionControl;
  readonly commit: StepCommit;
  readonly swaps: SwapControl;
}

/** Plans the next tokens of the groups that run, and preempts those that others need room from. */
export class RunningControl {
  readonly #blocks: BlockManager;
  readonly #shortContextLen: number | undefined;
  readonly #parts: RunningParts;

  /** Works on the scheduler's own queues and counters. */
  constructor(
    blocks: BlockManager,
    { shortContextLen }: Pick<SchedulerOptions, "shortContextLen">,
    parts: RunningParts,
  ) {
    this.#blocks = blocks;
    this.#shortContextLen = shortContextLen;
    this.#parts = parts;
  }

  get #running(): readonly SequenceGroup[] {
    return this.#parts.queues.running;
  }

  /** Gives each running group its next tokens, and the blocks for them. */
  schedule(plan: BatchPlan): void {
    const order = inPreemptionOrder(this.#running, this.#parts.policy);
    for (const { numSeats } of order) plan.reserve(numSeats);
    for (let i = 0; i < order.length; i++) {
      const group = order[i]!;
      plan.unreserve(group.numSeats);
      if (this.#makeRoom(group, order, plan)) group.addTo(plan, this.#blocks);
    }
  }

  /**
   * Preempts the groups whose KV is of a short context, and which have become longer. They wait
   * before all others, in their order, and are computed anew as soon as they are admitted; each
   * outgrows a short context once.
   */
  preemptOutgrown(): void {
    if (this.#shortContextLen === undefined) return;
    for (const group of this.#running.toReversed()) {
      if (this.#cachingOf(group) !== group.caching) {
        this.preempt(group, { reason: "long_context" });
      }
    }
  }

  /**
   * Preempts running groups for the head of the queue where it outranks them and does not fit
   * beside them: the last in the order first, and none where that would not be enough.
   */
  preemptOutranked(): void {
    const outranks = this.#parts.policy.outranks?.bind(this.#parts.policy);
    const head = outranks && this.#parts.queues.takeTurns().next;
    if (head === undefined) return;
    const victims = this.#parts.policy.order(this.#running)
      .filter((group) => outranks!(head, group));
    if (victims.length === 0 || !this.#parts.gate.wouldFit(head, victims)) return;
    const cause: PreemptCause = { reason: "outranked", forId: head.id };
    while (victims.length > 0 && !this.#parts.gate.fits(head)) {
      this.preempt(victims.pop()!, cause);
    }
  }

  /**
   * Its tokens are kept, so its answer goes on where it was; its blocks go to host memory where
   * that pays, and else uncached tokens are computed again.
   */
  preempt(victim: SequenceGroup, cause: PreemptCause): void {
    const holders = holdersOf(victim);
    this.#parts.swaps.preempt(victim, isStale(cause));
    this.#parts.queues.preempt(victim);
    for (const { id } of holders) this.#blocks.free(id, "preempt", cause);
    victim.preempt();
    victim.cacheAs(this.#cachingOf(victim));
    this.#parts.admissions.beginWait(victim);
    victim.numPreemptions++;
    this.#parts.counters.countPreemption();
  }

  /**
   * Whether a running group has got the blocks for its next tokens. The last in the order is
   * preempted for them, so no victim stands before `group`, where those that have a chunk in this
   * plan are; and the first never is.
   */
  #makeRoom(group: SequenceGroup, order: SequenceGroup[], plan: BatchPlan): boolean {
    while (!group.tryExtend(plan, this.#blocks)) {
      // What is kept for later prompts costs no running sequence its blocks.
      if (this.#blocks.reclaim()) continue;
      const isAlone = order.length === 1;
      if (isAlone && !this.#canStartAnew(group)) {
        const error = group.outOfBlocks(this.#blocks, plan);
        this.#parts.commit.end(group, { finishReason: "error", error });
        return false;
      }
      const victim = order.pop()!;
      this.#parts.growth.observeShortage();
      this.preempt(victim, { reason: "blocks", forId: group.id });
      if (victim === group) return false;
      plan.unreserve(victim.numSeats);
    }
    return true;
  }

  /** Whether a sequence that is alone would have room if its blocks lay in fewer slabs. */
  #canStartAnew({ members, numTokens }: SequenceGroup): boolean {
    return members.length === 1 && this.#blocks.isCut &&
      this.#blocks.numSlabsOf(numTokens) <= this.#blocks.numBlocks;
  }

  /** How KV of a group as long as it is now is cached. */
  #cachingOf({ caching, members }: SequenceGroup): CachingOptions {
    return cachingAtLength(caching, members[0]!.numTokens, this.#shortContextLen);
  }
}

/** Whether KV that is given back would not be computed the same again. */
function isStale({ reason }: PreemptCause): boolean {
  return reason === "long_context" || reason === "reset" || reason === "corrupt";
}

/**
 * A policy's order, but among those of one rank the ones that were preempted of late first: what
 * they have computed again since is not to be lost at once.
 */
function inPreemptionOrder(
  running: readonly SequenceGroup[],
  policy: SchedulingPolicy,
): SequenceGroup[] {
  const order = [...policy.order(running)];
  if (!order.some(isProtected)) return order;
  return order.sort((a, b) =>
    compareRanks(a, b, policy) || Number(isProtected(b)) - Number(isProtected(a))
  );
}

/** Negative where `a` comes before `b` whatever they have computed. */
function compareRanks(a: SequenceGroup, b: SequenceGroup, policy: SchedulingPolicy): number {
  if (policy.outranks?.(a, b)) return -1;
  if (policy.outranks?.(b, a)) return 1;
  return b.ownerPriority - a.ownerPriority;
}

function isProtected(
  { numPreemptions, numOutputTokensAtAdmission, members }: SequenceGroup,
): boolean {
  return numPreemptions > 0 &&
    members[0]!.numOutputTokens < numOutputTokensAtAdmission + MIN_TOKENS_BETWEEN_PREEMPTIONS;
}
