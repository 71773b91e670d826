import { invariant, InvariantError } from "../base/invariant.ts";
import type { Batch, ChunkResult } from "../core/batch.ts";
import { describeWait } from "../core/describe_decision.ts";
import type { EngineStats } from "../core/engine_stats.ts";
import type { GenerationRequest } from "../core/generation.ts";
import type { RequestId, SequenceId } from "../core/ids.ts";
import type { StepBounds } from "../core/step_bounds.ts";
import type { SwapCosts } from "../core/swap_space.ts";
import type { TokenEvent } from "../core/token_event.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import { AdmissionControl } from "./admission_control.ts";
import { AdmissionGate } from "./admission_gate.ts";
import { checkHolders, checkSwapped } from "./audit.ts";
import { BatchPlan } from "./batch_plan.ts";
import { checkResults } from "./chunk_results.ts";
import { Counters } from "./counters.ts";
import { deadlineExceeded, Deadlines } from "./deadlines.ts";
import { FurtherSteps } from "./further_steps.ts";
import { GrowthForecast } from "./growth_forecast.ts";
import { makeSequenceGroups } from "./make_sequence_groups.ts";
import { createPolicy } from "./policies/create_policy.ts";
import { cacheInUse } from "./pool_errors.ts";
import { PoolSizing } from "./pool_sizing.ts";
import { PrefillTime } from "./prefill_time.ts";
import { QueueSpeed } from "./queue_speed.ts";
import { type QueueView, viewQueues } from "./queue_view.ts";
import { RunningControl } from "./running_control.ts";
import type { SchedulerOptions } from "./scheduler_options.ts";
import { holdersOf, type SequenceGroup } from "./sequence_group.ts";
import { SequenceQueues } from "./sequence_queues.ts";
import { StepCommit } from "./step_commit.ts";
import { checkQueueHasRoom, checkRequest } from "./request_checks.ts";
import { SwapControl } from "./swap_control.ts";

/**
 * Decides, step by step, which tokens of which sequences run next.
 *
 * Batches are made anew for each step, so a sequence joins when there is room and leaves when it
 * ends, without waiting for others (Orca, Yu et al. 2022, OSDI).
 *
 * Every running sequence advances in every step unless it is preempted: an admission needs a seat,
 * of which there are no more than a step has tokens, and each that runs has a token per seat
 * reserved. What is left goes to prompts, in the policy's order, and then to those that wait.
 *
 * Between `schedule` and `commit` the step is in flight. Requests may be added and aborted then,
 * but the blocks of a sequence in flight are freed at the commit, since the device still writes
 * them.
 */
export class Scheduler {
  /** When the pool is too small, and how it gets another size. */
  readonly pool: PoolSizing;
  readonly #blocks: BlockManager;
  readonly #options: SchedulerOptions;
  readonly #queues: SequenceQueues;
  readonly #deadlines = new Deadlines();
  readonly #speed = new QueueSpeed();
  #nowMs = 0;
  /** Groups queued so far. */
  #numQueued = 0;
  #inFlight: Batch | undefined;
  #nextSequenceId: SequenceId = 0;
  readonly #counters = new Counters();
  readonly #growth: GrowthForecast;
  readonly #swaps: SwapControl;
  readonly #admissions: AdmissionControl;
  readonly #commit: StepCommit;
  readonly #running: RunningControl;
  readonly #furtherSteps: FurtherSteps;

  constructor(blocks: BlockManager, options: SchedulerOptions) {
    this.#blocks = blocks;
    this.#options = options;
    this.#growth = new GrowthForecast(blocks, {
      maxModelLen: options.maxModelLen,
      conservativeness: options.scheduleConservativeness ?? 0,
    });
    const policy = createPolicy(options.schedulingPolicy ?? "fcfs", {
      watchCached: ({ allTokens, caching }) => blocks.watchCached(allTokens, caching.scope),
      expectedTokens: (group) => this.#growth.expectedTokens(group),
    });
    this.#queues = new SequenceQueues(policy);
    const counters = this.#counters;
    this.#swaps = new SwapControl(blocks, { counters, onDecision: options.onDecision });
    const parts = { queues: this.#queues, counters, growth: this.#growth, swaps: this.#swaps };
    const gate = new AdmissionGate(blocks, options, parts);
    const shared = { ...parts, gate };
    this.#admissions = new AdmissionControl(blocks, options, shared);
    this.#commit = new StepCommit(blocks, options, {
      ...shared,
      onGroupEnd: (group) => this.#onGroupEnd(group),
      onGroupCorrupt: (group) => this.#running.preempt(group, { reason: "corrupt" }),
    });
    this.#running = new RunningControl(blocks, options, {
      ...shared,
      policy,
      admissions: this.#admissions,
      commit: this.#commit,
    });
    this.#furtherSteps = new FurtherSteps(blocks, options, this.#queues);
    this.pool = new PoolSizing(blocks, options.maxModelLen, {
      ...shared,
      blocked: () => this.#admissions.blocked,
      checkBetweenSteps: (action) => this.#checkBetweenSteps(action),
      onDecision: options.onDecision,
    });
  }

  /** Whether a sequence waits or runs, or a step is in flight. */
  get hasWork(): boolean {
    return this.#queues.numUnfinished > 0 || this.#inFlight !== undefined;
  }

  /** As of {@link SchedulerOptions}. */
  get shortContextLen(): number | undefined {
    return this.#options.shortContextLen;
  }

  /** Steps that have been planned; the next has this number. */
  get numSteps(): number {
    return this.#counters.current.numSteps;
  }

  /** The engine's statistics as of this moment; times, which others measure, are 0. */
  get stats(): EngineStats {
    return {
      ...this.#counters.current,
      numRunning: this.#queues.running.reduce((sum, { members }) => sum + members.length, 0),
      numWaiting: this.#queues.numWaiting,
      numDeferred: Math.min(this.#admissions.numDeferred, this.#queues.numWaiting),
      numBlocks: this.#blocks.numBlocks,
      numFreeBlocks: this.#blocks.numFree,
      numCachedBlocks: this.#blocks.numIdle,
      numPinnedBlocks: this.#blocks.pins?.numBlocks ?? 0,
      numEvictedBlocks: this.#blocks.numEvicted,
      numResetBlocks: this.#blocks.numReset,
      numSwapped: this.#blocks.swap?.numSequences ?? 0,
      numSwapBlocks: this.#blocks.swap?.numSlabs ?? 0,
      numUsedSwapBlocks: this.#blocks.swap?.numUsed ?? 0,
      ...this.#blocks.swap?.counts,
    };
  }

  /**
   * Queues all sequences of a request, which has come at `nowMs`. Of a resumed one, those that had
   * ended are left out, and the queue's limit does not count: it was accepted before.
   *
   * @throws {RequestError} when they are too many for any queue or one of them could never run
   * (400), too many of the same owner wait (429), or a grammar cannot be matched. Nothing has been
   * queued.
   */
  add(request: GenerationRequest, nowMs: number = this.#nowMs): void {
    const { numBlocks, blockSize, numPoolTokens, cacheGroups } = this.#blocks;
    const { maxNumBlocks } = this.pool;
    const limits = {
      ...this.#options,
      ...{ numBlocks, blockSize, numPoolTokens, cacheGroups, maxNumBlocks },
      numSlabsOfSearch: (length: number, width: number) =>
        this.#blocks.numSlabsOfSearch(length, width),
    };
    checkRequest(request, limits, this.#options.schedulingPolicy);
    if (request.resumed === undefined) {
      checkQueueHasRoom(request, this.#queues.numAnswersWaiting(request.owner), {
        ...limits,
        secondsUntil: (numPlaces) =>
          this.#speed.secondsUntil(numPlaces * this.#queues.numOwnersWaiting, nowMs),
      });
    }
    const firstId = this.#nextSequenceId;
    const groups = makeSequenceGroups(request, { ...limits, firstId, nowMs });
    this.#nextSequenceId += request.sequences.length;
    this.#queues.add(request.id, groups);
    this.#numQueued += groups.length;
    for (const group of groups) {
      this.#deadlines.add(group);
      this.#commit.reportQueued(group, request.resumed && group.numOutputTokens);
      this.#admissions.beginWait(group);
    }
  }

  /**
   * Ends sequence `index` of a request, or all of them; those that have ended are left alone. The
   * answers of one search end together.
   */
  abort(requestId: RequestId, index?: number): void {
    for (const group of [...this.#queues.ofRequest(requestId)]) {
      if (index === undefined || group.answers.some((answer) => answer.index === index)) {
        this.#commit.end(group, { finishReason: "abort" });
      }
    }
  }

  /**
   * Plans the next step, or returns undefined when there is none: no sequence is queued, or the one
   * that ran had to be ended (see {@link takeEvents}). Fails if no group advances and none ends.
   *
   * @param nowMs the time by which deadlines are met; default: as before.
   * @param bounds what the step is to be cut to; default: nothing but the scheduler's own limits.
   */
  schedule(nowMs: number = this.#nowMs, bounds: StepBounds = {}): Batch | undefined {
    this.#checkBetweenSteps("schedule()");
    const { numUnfinished } = this.#queues;
    this.#nowMs = nowMs;
    this.#endOverdue();
    const plan = this.#plan(bounds);
    const { numWaiting } = this.#queues;
    this.#speed.observe(nowMs, this.#numQueued - numWaiting, numWaiting);
    if (!plan.isEmpty) return this.#begin(plan, bounds);
    if (numUnfinished > 0 && this.#queues.numUnfinished === numUnfinished) {
      throw new InvariantError(`no sequence advances or ends: ${this.describeQueue()}`);
    }
    this.#blocks.swap?.dropUnplanned();
    return undefined;
  }

  /**
   * Takes in the results of a step, one per chunk that asks for something, in the chunks' order.
   * Returns the events of this step and those since the last, in order.
   */
  commit(batch: Batch, results: readonly ChunkResult[]): TokenEvent[] {
    invariant(
      this.#inFlight === batch,
      `commit of step ${batch.step}, which is not in flight: ${this.#inFlight?.step ?? "none"} is`,
    );
    checkResults(batch, results);
    this.#inFlight = undefined;
    this.#blocks.markCopied();
    this.#commit.updateFromOutput(batch, results);
    return this.takeEvents();
  }

  /** Takes what copying and computing take on the device, as measured, to weigh swaps by. */
  setSwapCosts(costs: SwapCosts): void {
    this.#swaps.setCosts(costs);
  }

  /** Takes the events that no commit has returned yet: ends by abort or error. */
  takeEvents(): TokenEvent[] {
    return this.#commit.takeEvents();
  }

  /** Takes the requests of which sequences have been admitted to the latest step, once. */
  takeAdmitted(): readonly RequestId[] {
    return this.#admissions.takeAdmitted();
  }

  /**
   * Forgets the KV of all earlier prompts, and all pins. Not while a step is in flight.
   *
   * @param preempt whether sequences that run give their blocks back and wait again, in their
   * order.
   * @returns how many sequences did.
   * @throws {RequestError} with their number (409) when some run and may not be preempted. Nothing
   * has changed.
   */
  resetPrefixCache(preempt: boolean): number {
    this.#checkBetweenSteps("reset of the prefix cache");
    const { running } = this.#queues;
    const numRunning = running.length;
    if (numRunning > 0 && !preempt) throw cacheInUse(numRunning);
    while (running.length > 0) this.#running.preempt(running.at(-1)!, { reason: "reset" });
    this.#blocks.clearCache();
    this.#swaps.onCacheReset();
    return numRunning;
  }

  /** How many run and wait, and what blocks the first that waits, with the numbers. */
  describeQueue(): string {
    const { numRunning, numWaiting, numBlocks, numFreeBlocks, numCachedBlocks } = this.stats;
    const counts =
      `${numRunning} running, ${numWaiting} waiting, ${numFreeBlocks} of ${numBlocks} ` +
      `blocks free, ${numCachedBlocks} evictable`;
    const head = this.#admissions.explainHead();
    if (head === undefined) return counts;
    const { requestId, index } = head.group;
    return `${counts}; ${requestId}[${index}] waits: ${describeWait(head.cause)}`;
  }

  /** The unfinished sequences, at most `limit` of them: those that run, then those that wait. */
  viewSequences(limit: number): QueueView {
    return viewQueues(this.#queues, limit);
  }

  /** Sequences of a request that wait or run. */
  numSequencesOf(requestId: RequestId): number {
    return this.#queues.ofRequest(requestId).reduce((sum, { answers }) => sum + answers.length, 0);
  }

  /** Audit of the queues and the blocks; when idle, also that no block is in use. O(pool). */
  checkIntegrity(): void {
    this.#queues.checkIntegrity();
    this.#blocks.checkIntegrity();
    const holders = [...this.#queues.running.flatMap(holdersOf), ...this.#commit.endedInFlight];
    checkHolders(holders, this.#blocks, !this.hasWork);
    const { swap } = this.#blocks;
    if (swap !== undefined) checkSwapped(this.#queues.waiting, swap);
  }

  /** Those that run first, and then, if none of them lacked blocks, those that wait. */
  #plan({ maxPrefillTokens }: StepBounds): BatchPlan {
    this.#growth.beginStep();
    this.#running.preemptOutgrown();
    this.#running.preemptOutranked();
    const { numPreemptions } = this.#counters.current;
    const prefillTime = maxPrefillTokens &&
      new PrefillTime(maxPrefillTokens, this.#blocks.blockSize);
    const plan = new BatchPlan(this.#options.maxNumBatchedTokens, this.#maxChunk(), prefillTime);
    this.#running.schedule(plan);
    // Blocks taken from a running sequence are for those that still run, not for a newcomer.
    const hasPreempted = this.#counters.current.numPreemptions > numPreemptions;
    if (!hasPreempted || this.#queues.running.length === 0) this.#admissions.fill(plan);
    for (const { group, error } of this.#admissions.takeImpossible()) {
      this.#commit.end(group, { finishReason: "error", error });
    }
    return plan;
  }

  /** The plan as a batch, with what is to be copied for it; it is in flight from now on. */
  #begin(plan: BatchPlan, { maxDecodeSteps }: StepBounds): Batch {
    if (this.#blocks.swap !== undefined) plan.addSwaps(this.#blocks.swap.drain());
    this.#furtherSteps.addTo(plan, maxDecodeSteps);
    for (const copy of this.#blocks.takeCopies()) plan.addCopy(copy);
    const batch = plan.toBatch(this.#counters.countStep(plan));
    this.#inFlight = batch;
    this.#commit.begin(plan);
    return batch;
  }

  #checkBetweenSteps(action: string): void {
    if (this.#inFlight === undefined) return;
    throw new InvariantError(`${action} while step ${this.#inFlight.step} is in flight`);
  }

  #onGroupEnd(group: SequenceGroup): void {
    this.#deadlines.remove(group);
    this.#growth.observeEnd(group);
  }

  #endOverdue(): void {
    for (const group of this.#deadlines.overdue(this.#nowMs)) {
      this.#counters.countTimeout();
      this.#commit.end(group, { finishReason: "error", error: deadlineExceeded(group) });
    }
  }

  /** Most tokens of one sequence in the next step: fewer while others could use them. */
  #maxChunk(): number | undefined {
    const { longPrefillTokenThreshold: threshold } = this.#options;
    if (threshold === undefined) return undefined;
    const numPrefills = this.#queues.running.filter(isPrefilling).length;
    return this.#queues.numWaiting + numPrefills > 1 ? threshold : undefined;
  }
}

/** Whether a running group has more to compute than its newest token. */
function isPrefilling({ members }: SequenceGroup): boolean {
  return members[0]!.numUncomputedTokens > 1;
}
