import { invariant } from "../base/invariant.ts";
import type { Batch, SampledToken, ScheduledChunk } from "../core/batch.ts";
import type { EngineStats } from "../core/engine_config.ts";
import type { GenerationRequest } from "../core/generation.ts";
import type { RequestId, SequenceId } from "../core/ids.ts";
import type { TokenEvent } from "../core/token_event.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { DecisionListener } from "../kvcache/cache_listener.ts";
import { BatchPlan, checkSampled } from "./batch_plan.ts";
import { Admissions, seenBy, type TokensListener } from "./admissions.ts";
import { checkHolders } from "./audit.ts";
import { Counters } from "./counters.ts";
import { EventBuffer, type Report } from "./event_buffer.ts";
import { PoolSizing } from "./pool_sizing.ts";
import { promptGroups } from "./prefix_sharing.ts";
import { Sequence } from "./sequence.ts";
import { SequenceQueues } from "./sequence_queues.ts";
import { finishReason } from "./stopping.ts";
import { cacheInUse, cannotGrow, checkFits, checkQueueHasRoom } from "./submission.ts";

/** The limits of a scheduler, each at least 1. */
export interface SchedulerOptions {
  /** Most tokens of one sequence, prompt and output. */
  readonly maxModelLen: number;
  /** Most sequences in one step. */
  readonly maxNumSeqs: number;
  /** Most tokens in one step. */
  readonly maxNumBatchedTokens: number;
  /** Most sequences waiting for admission. */
  readonly maxNumWaitingSeqs: number;
  /** Is told why sequences wait, beside what the block manager tells. */
  readonly onDecision?: DecisionListener;
  /** Is shown each prompt as it is first admitted, siblings that share one only once. */
  readonly onPrompt?: TokensListener;
  /** Is shown the computed tokens of each sequence as it gives its blocks back for good. */
  readonly onEnd?: TokensListener;
}

/** The scheduler's share of the engine's statistics. */
export type SchedulerStats = Omit<EngineStats, "stepMs" | "hostMs">;

/**
 * Decides, step by step, which tokens of which sequences run next.
 *
 * Batches are made anew for each step, so a sequence joins when there is room and leaves when it
 * ends, without waiting for others (Orca, Yu et al. 2022, OSDI).
 *
 * Every running sequence advances in every step unless it is preempted. An admission needs a token
 * of budget left over by those that run, so these never outnumber the tokens of a step; and one that
 * spends the budget ends the admissions, so only the latest admitted can have more than one token
 * to compute.
 *
 * Between `schedule` and `commit` the step is in flight. Requests may be added and aborted then, but
 * the blocks of a sequence in flight are freed at the commit, since the device still writes them.
 */
export class Scheduler {
  /** When the pool is too small, and how it gets another size. */
  readonly pool: PoolSizing;
  readonly #blocks: BlockManager;
  readonly #options: SchedulerOptions;
  readonly #queues = new SequenceQueues();
  readonly #events = new EventBuffer();
  #inFlight: { readonly batch: Batch; readonly sequences: readonly Sequence[] } | undefined;
  #nextSequenceId: SequenceId = 0;
  readonly #counters = new Counters();
  readonly #admissions: Admissions;

  constructor(blocks: BlockManager, options: SchedulerOptions) {
    this.#blocks = blocks;
    this.#options = options;
    this.#admissions = new Admissions(blocks, options, {
      queues: this.#queues,
      counters: this.#counters,
    });
    this.pool = new PoolSizing(blocks, options.maxModelLen, {
      queues: this.#queues,
      counters: this.#counters,
      blocked: () => this.#admissions.blocked,
      isInFlight: () => this.#inFlight !== undefined,
      onDecision: options.onDecision,
    });
  }

  /** Whether a sequence waits or runs, or a step is in flight. */
  get hasWork(): boolean {
    return this.#queues.numUnfinished > 0 || this.#inFlight !== undefined;
  }

  /** Number of the next step. */
  get numSteps(): number {
    return this.#counters.numSteps;
  }

  /** Gauges and counters as of this moment. */
  get stats(): SchedulerStats {
    return {
      numRunning: this.#queues.running.length,
      numWaiting: this.#queues.numWaiting,
      numBlocks: this.#blocks.numBlocks,
      numFreeBlocks: this.#blocks.numFree,
      numCachedBlocks: this.#blocks.numCached,
      numPinnedBlocks: this.#blocks.pins?.numBlocks ?? 0,
      numEvictedBlocks: this.#blocks.numEvicted,
      ...this.#counters.current,
    };
  }

  /**
   * Queues all sequences of a request.
   *
   * @throws {RequestError} when one of them could never run (400) or too many wait (429). Nothing
   * has been queued.
   */
  add(request: GenerationRequest): void {
    const { numBlocks, blockSize } = this.#blocks;
    const limits = { ...this.#options, numBlocks, blockSize };
    checkFits(request, limits);
    checkQueueHasRoom(request, this.#queues.numWaiting, limits);
    const groups = promptGroups(request.sequences);
    const { cacheScope: scope, cacheRetention: retention } = request;
    const caching = {
      ...(scope === undefined ? {} : { scope }),
      ...(retention === undefined ? {} : { retention }),
    };
    const sequences = request.sequences.map((sequence, index) => {
      const id = this.#nextSequenceId++;
      const promptGroup = groups[index]!;
      return new Sequence({ id, requestId: request.id, index, promptGroup, caching }, sequence);
    });
    this.#queues.add(request.id, sequences);
    for (const { id: sequenceId, requestId, index, numTokens } of sequences) {
      this.#options.onDecision?.({ type: "queue", requestId, sequenceId, index, numTokens });
    }
  }

  /** Ends sequence `index` of a request, or all of them; those that have ended are left alone. */
  abort(requestId: RequestId, index?: number): void {
    for (const sequence of [...this.#queues.ofRequest(requestId)]) {
      if (index === undefined || sequence.index === index) {
        this.#end(sequence, { finishReason: "abort" });
      }
    }
  }

  /**
   * Plans the next step, or returns undefined when there is none: no sequence is queued, or the one
   * that ran had to be ended (see {@link takeEvents}). Fails if nobody advances and nobody ends.
   */
  schedule(): Batch | undefined {
    invariant(this.#inFlight === undefined, "schedule() while a step is in flight");
    const { numUnfinished } = this.#queues;
    const { numPreemptions } = this.#counters;
    const plan = new BatchPlan(this.#options.maxNumBatchedTokens);
    this.#scheduleRunning(plan);
    // Blocks taken from a running sequence are for those that still run, not for a newcomer.
    if (this.#counters.numPreemptions === numPreemptions) this.#admissions.fill(plan);
    for (const { sequence, error } of this.#admissions.takeImpossible()) {
      this.#end(sequence, { finishReason: "error", error });
    }
    if (plan.isEmpty) {
      const isStuck = numUnfinished > 0 && this.#queues.numUnfinished === numUnfinished;
      invariant(!isStuck, `no sequence advances or ends: ${JSON.stringify(this.stats)}`);
      return undefined;
    }
    const batch = plan.toBatch(this.#counters.numSteps++);
    this.#inFlight = { batch, sequences: plan.sequences };
    return batch;
  }

  /**
   * Takes in what a step has drawn, one entry per chunk with a `sample`, in the order of the
   * chunks. Returns the events of this step and those since the last, in order.
   */
  commit(batch: Batch, sampled: readonly SampledToken[]): TokenEvent[] {
    const inFlight = this.#inFlight;
    invariant(inFlight?.batch === batch, `commit of step ${batch.step}, which is not in flight`);
    checkSampled(batch, sampled);
    this.#inFlight = undefined;
    this.#blocks.markCopied();
    let numTaken = 0;
    batch.chunks.forEach((chunk, i) => {
      const drawn = chunk.sample === undefined ? undefined : sampled[numTaken++];
      this.#advance(inFlight.sequences[i]!, chunk, drawn);
    });
    return this.takeEvents();
  }

  /** Takes the events that no commit has returned yet: ends by abort or error. */
  takeEvents(): TokenEvent[] {
    return this.#events.take();
  }

  /**
   * Forgets the KV of all earlier prompts, and all pins. Not while a step is in flight.
   *
   * @param preempt whether sequences that run give their blocks back and wait again, in their order.
   * @returns how many sequences did.
   * @throws {RequestError} with their number (409) when some run and may not be preempted. Nothing
   * has changed.
   */
  resetPrefixCache(preempt: boolean): number {
    invariant(this.#inFlight === undefined, "the prefix cache is reset while a step is in flight");
    const { running } = this.#queues;
    const numRunning = running.length;
    if (numRunning > 0 && !preempt) throw cacheInUse(numRunning);
    while (running.length > 0) this.#preemptLast();
    this.#blocks.clearCache();
    return numRunning;
  }

  /** Audit of the queues and the blocks; when idle, also that no block is in use. O(pool). */
  checkIntegrity(): void {
    this.#queues.checkIntegrity();
    this.#blocks.checkIntegrity();
    const ended = this.#inFlight?.sequences.filter(({ state }) => state === "finished") ?? [];
    const holders = [...this.#queues.running, ...ended];
    checkHolders(holders, this.#blocks, !this.hasWork);
  }

  #scheduleRunning(plan: BatchPlan): void {
    const { running } = this.#queues;
    for (let i = 0; i < running.length; i++) {
      const sequence = running[i]!;
      const count = plan.countFor(sequence);
      if (this.#makeRoom(sequence, sequence.numComputedTokens + count)) {
        plan.add(sequence, count, this.#blocks.blockTable(sequence.id));
      }
    }
  }

  /**
   * Whether the blocks of a running sequence could be made to cover `numTokens` positions.
   *
   * The latest admitted gives way, so no victim stands before `sequence`, where the sequences that
   * have a chunk in this plan are; and the earliest admitted never does.
   */
  #makeRoom(sequence: Sequence, numTokens: number): boolean {
    while (!this.#blocks.tryExtend(sequence.id, numTokens)) {
      if (this.#queues.running.length === 1) {
        const numPinned = this.#blocks.pins?.numBlocks ?? 0;
        const error = cannotGrow(numTokens, this.#blocks, numPinned);
        this.#end(sequence, { finishReason: "error", error });
        return false;
      }
      if (this.#preemptLast() === sequence) return false;
    }
    return true;
  }

  /** Its tokens are kept, so its answer goes on where it was; what is not cached is computed again. */
  #preemptLast(): Sequence {
    const victim = this.#queues.preemptLast();
    this.#blocks.free(victim.id, "preempt");
    victim.numComputedTokens = 0;
    victim.numPreemptions++;
    this.#counters.numPreemptions++;
    return victim;
  }

  #advance(sequence: Sequence, chunk: ScheduledChunk, drawn: SampledToken | undefined): void {
    const end = chunk.start + chunk.tokens.length;
    this.#counters.countChunk(sequence, chunk);
    this.#blocks.markComputed(sequence.id, sequence.allTokens, end);
    if (sequence.state === "finished") {
      this.#blocks.free(sequence.id);
      return;
    }
    sequence.numComputedTokens = end;
    if (drawn === undefined) return;
    const { sequenceId: _, ...report } = drawn;
    sequence.append(report.token);
    this.#counters.countToken();
    const reason = finishReason(sequence, report.token, this.#options.maxModelLen);
    if (reason === undefined) this.#events.add(sequence, report);
    else this.#end(sequence, { ...report, finishReason: reason });
  }

  /** Reports the last event of a sequence and forgets it. */
  #end(sequence: Sequence, report: Report): void {
    this.#events.add(sequence, report);
    const isInFlight = this.#inFlight?.sequences.includes(sequence) ?? false;
    if (sequence.state === "running" && !isInFlight) this.#blocks.free(sequence.id);
    const [scope, tokens] = seenBy(sequence);
    this.#options.onEnd?.(scope, tokens.subarray(0, sequence.numComputedTokens));
    this.#queues.end(sequence);
  }
}
