import type {
  Batch,
  ChunkOutput,
  ChunkResult,
  DrawFailure,
  ScheduledChunk,
} from "../core/batch.ts";
import type { FinishReason, TokenEvent } from "../core/token_event.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { BatchPlan } from "./batch_plan.ts";
import { failureOf, outputsOf } from "./chunk_results.ts";
import type { Counters } from "./counters.ts";
import { nonfiniteLogits } from "./draw_failure.ts";
import { EventBuffer, type Report } from "./event_buffer.ts";
import { type SchedulerOptions, seenBy } from "./scheduler_options.ts";
import type { Answer, Sequence } from "./sequence.ts";
import type { OutputSink, SequenceGroup } from "./sequence_group.ts";
import type { SequenceQueues } from "./sequence_queues.ts";

/** The limit that answers end at, and the listeners of their ends. */
type StepCommitOptions = Pick<SchedulerOptions, "maxModelLen" | "onDecision" | "onEnd">;

/** What a scheduler shares with its commits. */
export interface StepCommitParts {
  readonly queues: SequenceQueues;
  readonly counters: Counters;
  /** A group ends. */
  readonly onGroupEnd: (group: SequenceGroup) => void;
  /** Host memory has not kept the blocks of a group that runs: its KV is not there. */
  readonly onGroupCorrupt: (group: SequenceGroup) => void;
}

/** The part of the plan in flight that takes its results: the group and sequence of each chunk. */
type InFlight = Pick<BatchPlan, "groups" | "sequences">;

const NOTHING: InFlight = { groups: [], sequences: [] };

/**
 * Takes groups further by the results of steps, and ends them.
 *
 * Blocks of a sequence in flight are freed when its step is committed, since the device still
 * writes them.
 */
export class StepCommit implements OutputSink {
  readonly maxModelLen: number;
  readonly #blocks: BlockManager;
  readonly #options: StepCommitOptions;
  readonly #queues: SequenceQueues;
  readonly #counters: Counters;
  readonly #onGroupEnd: StepCommitParts["onGroupEnd"];
  readonly #onGroupCorrupt: StepCommitParts["onGroupCorrupt"];
  readonly #events = new EventBuffer();
  #inFlight: InFlight = NOTHING;

  /** Works on the scheduler's own queues and counters. */
  constructor(
    blocks: BlockManager,
    options: StepCommitOptions,
    { queues, counters, onGroupEnd, onGroupCorrupt }: StepCommitParts,
  ) {
    this.maxModelLen = options.maxModelLen;
    this.#blocks = blocks;
    this.#options = options;
    this.#queues = queues;
    this.#counters = counters;
    this.#onGroupEnd = onGroupEnd;
    this.#onGroupCorrupt = onGroupCorrupt;
  }

  /** Sequences that have ended while their step is in flight, and still hold blocks. */
  get endedInFlight(): readonly Sequence[] {
    return this.#inFlight.sequences.filter(({ state }) => state === "finished");
  }

  /** The step of this plan is in flight. */
  begin(plan: InFlight): void {
    this.#inFlight = plan;
  }

  /** The step in flight has these results, one per chunk that asks for something. */
  updateFromOutput({ chunks }: Batch, results: readonly ChunkResult[]): void {
    const { groups, sequences } = this.#inFlight;
    const outputs = outputsOf(chunks, results);
    const failures = outputs.map((own, i) => isOneStep(chunks[i]!) ? failureOf(own) : undefined);
    // While all are in flight, so that the beams of a search that fails keep their tables for now.
    failures.forEach((failure, i) => {
      if (failure !== undefined) this.#endFailed(groups[i]!, failure);
    });
    // And so that what is behind a sequence's end stays its own until all of it is taken.
    chunks.forEach((chunk, i) => {
      if (!isOneStep(chunk)) this.#takeDecodeSteps(groups[i]!, sequences[i]!, chunk, outputs[i]!);
    });
    this.#inFlight = NOTHING;
    chunks.forEach((chunk, i) => {
      if (!isOneStep(chunk)) return;
      const sequence = sequences[i]!;
      if (outputs[i]![0]?.type === "corrupt") return this.#preemptCorrupt(groups[i]!, sequence);
      this.#takeChunk(sequence, chunk, failures[i]);
      this.#takeReadings(sequence, chunk, outputs[i]!);
      for (const output of outputs[i]!) {
        const isTaken = output.type === "token" && sequence.state === "running";
        if (isTaken) groups[i]!.update(sequence, output, this);
      }
    });
    for (let i = 0; i < groups.length; i++) {
      const group = groups[i]!;
      const isLastChunk = groups[i + 1] !== group;
      if (isLastChunk && group.state === "running") group.endStep(this);
    }
  }

  end(group: SequenceGroup, report: Report & { readonly finishReason: FinishReason }): void {
    for (const answer of group.answers) this.report(group, answer, report);
    const { finishReason: reason } = report;
    const waiting = group.members.filter(({ state }) => state === "waiting");
    for (const { id: sequenceId } of waiting) {
      this.#options.onDecision?.({ type: "end", sequenceId, reason });
    }
    this.endReported(group);
  }

  /** Returns the events so far, in order, and forgets them. */
  takeEvents(): TokenEvent[] {
    return this.#events.drain();
  }

  reportQueued(
    { id: sequenceId, requestId, index, numTokens }: Pick<
      Sequence,
      "id" | "requestId" | "index" | "numTokens"
    >,
    numResumed?: number,
  ): void {
    const resumed = numResumed === undefined ? {} : { numResumed };
    const queued = { requestId, sequenceId, index, numTokens, ...resumed };
    this.#options.onDecision?.({ type: "queue", ...queued });
  }

  report(group: SequenceGroup, answer: Answer, report: Report): void {
    const hasToken = report.token !== undefined;
    const isBegun = hasToken || report.finishReason === "length";
    if (isBegun && !answer.hasReported) this.#counters.countPrompt(group, answer);
    if (hasToken) this.#counters.countToken(group);
    this.#tellReport(group, answer, report);
    this.#events.add(answer, report);
  }

  /** The first and the last word of an answer; most reports are neither. */
  #tellReport(
    { id: sequenceId }: SequenceGroup,
    { index, hasReported }: Answer,
    { token, finishReason: reason }: Report,
  ): void {
    if (token !== undefined && !hasReported) {
      this.#options.onDecision?.({ type: "first_token", sequenceId, index });
    }
    if (reason === undefined) return;
    this.#options.onDecision?.({ type: "finish", sequenceId, index, reason });
  }

  endReported(group: SequenceGroup): void {
    const { members } = group;
    this.#onGroupEnd(group);
    for (const member of members) {
      const isInFlight = this.#inFlight.sequences.includes(member);
      if (member.state === "running" && !isInFlight) this.#blocks.free(member.id);
      this.#blocks.swap?.drop(member.id);
      member.matcher?.close();
      const [scope, tokens] = seenBy(member);
      this.#options.onEnd?.(scope, tokens.subarray(0, member.numComputedTokens));
    }
    this.#queues.end(group);
    for (const member of members) member.state = "finished";
  }

  drop({ id }: Sequence): void {
    this.#blocks.free(id);
  }

  /** The blocks of a sequence have not come back, and its chunk has not been computed. */
  #preemptCorrupt(group: SequenceGroup, { id, state }: Sequence): void {
    this.#counters.countSwapCorrupt();
    if (state === "finished") return this.#blocks.free(id);
    this.#options.onDecision?.({ type: "swap_drop", sequenceId: id, reason: "corrupt" });
    this.#onGroupCorrupt(group);
  }

  #takeReadings(
    { reader, state }: Sequence,
    { start, tokens }: ScheduledChunk,
    outputs: readonly ChunkOutput[],
  ): void {
    if (reader === undefined || state !== "running") return;
    for (const output of outputs) reader.take(output);
    reader.advance(start + tokens.length);
  }

  /** Ends a group, unless it has ended: for one of its sequences no token can be drawn. */
  #endFailed(group: SequenceGroup, failure: DrawFailure): void {
    if (group.state === "finished") return;
    this.#counters.countCorrupted();
    this.end(group, { finishReason: "error", error: nonfiniteLogits(failure) });
  }

  /**
   * Takes the draws of several steps, one after the other as if each had been committed by itself,
   * until the sequence ends: what was computed behind that is dropped, and no other finds it.
   */
  #takeDecodeSteps(
    group: SequenceGroup,
    sequence: Sequence,
    chunk: ScheduledChunk,
    outputs: readonly ChunkOutput[],
  ): void {
    const { id } = sequence;
    this.#counters.countChunk(sequence, chunk);
    let numTaken = 0;
    for (const output of outputs) {
      if (output.type === "failed") {
        this.#endFailed(group, output.failure);
        return this.#blocks.discard(id, sequence.allTokens, output.failure.numSoundTokens);
      }
      const end = chunk.start + numTaken + 1;
      this.#blocks.markComputed(id, sequence.tokenStore, end);
      if (sequence.state === "finished") break;
      sequence.numComputedTokens = end;
      if (output.type === "token") group.update(sequence, output, this);
      numTaken++;
      if (sequence.state !== "running") break;
    }
    this.#counters.countWasted(outputs.length - Math.max(1, numTaken));
    if (sequence.state === "finished") this.#blocks.free(id);
  }

  /**
   * Notes the computed tokens of a chunk, and frees the blocks of a sequence that has ended
   * meanwhile.
   */
  #takeChunk(sequence: Sequence, chunk: ScheduledChunk, failure: DrawFailure | undefined): void {
    const end = chunk.start + chunk.tokens.length;
    this.#counters.countChunk(sequence, chunk);
    if (failure !== undefined) {
      this.#blocks.discard(sequence.id, sequence.allTokens, failure.numSoundTokens);
      return;
    }
    this.#blocks.markComputed(sequence.id, sequence.tokenStore, end);
    if (sequence.state === "finished") this.#blocks.free(sequence.id);
    else sequence.numComputedTokens = end;
  }
}

function isOneStep({ numDecodeSteps }: ScheduledChunk): boolean {
  return numDecodeSteps === undefined;
}
