import type { Batch, SampledToken, ScheduledChunk } from "../core/batch.ts";
import type { FinishReason, TokenEvent } from "../core/token_event.ts";
import type { BlockManager } from "../kvcache/block_manager.ts";
import type { DecisionListener } from "../kvcache/cache_listener.ts";
import { seenBy, type TokensListener } from "./admissions.ts";
import { answerEvents } from "./beam_answers.ts";
import { Beam, type BeamGroup } from "./beam_group.ts";
import type { Counters } from "./counters.ts";
import { nonfiniteLogits } from "./draw_failure.ts";
import { EventBuffer, type Report } from "./event_buffer.ts";
import type { Answer, Sequence } from "./sequence.ts";
import type { SequenceQueues } from "./sequence_queues.ts";
import { finishReason } from "./stopping.ts";

/** What progress depends on, and who is told of it. */
export interface ProgressOptions {
  /** Most tokens of one sequence, prompt and output. */
  readonly maxModelLen: number;
  readonly onDecision?: DecisionListener;
  /** Is shown the computed tokens of each sequence as it gives its blocks back for good. */
  readonly onEnd?: TokensListener;
}

/**
 * Takes sequences further by what steps have drawn for them, and ends them.
 *
 * Blocks of a sequence in flight are freed when its step is finished, since the device still writes
 * them.
 */
export class Progress {
  readonly #blocks: BlockManager;
  readonly #options: ProgressOptions;
  readonly #queues: SequenceQueues;
  readonly #counters: Counters;
  readonly #events = new EventBuffer();
  /** One per chunk of the step in flight. */
  #inFlight: readonly Sequence[] = [];

  /** Works on the scheduler's own queues and counters. */
  constructor(
    blocks: BlockManager,
    options: ProgressOptions,
    { queues, counters }: { readonly queues: SequenceQueues; readonly counters: Counters },
  ) {
    this.#blocks = blocks;
    this.#options = options;
    this.#queues = queues;
    this.#counters = counters;
  }

  /** Sequences that have ended while their step is in flight, and still hold blocks. */
  get endedInFlight(): readonly Sequence[] {
    return this.#inFlight.filter(({ state }) => state === "finished");
  }

  /** A step is in flight that computes these, one per chunk. */
  start(sequences: readonly Sequence[]): void {
    this.#inFlight = sequences;
  }

  /** The step in flight has drawn `sampled`, one entry per chunk with a `sample`. */
  finish(batch: Batch, sampled: readonly SampledToken[]): void {
    const sequences = this.#inFlight;
    let numTaken = 0;
    const draws = batch.chunks.map(({ sample }) => sample && sampled[numTaken++]);
    // While all are in flight, so that the beams of a search that fails keep their tables for now.
    sequences.forEach((sequence, i) => this.#endUndrawn(sequence, draws[i]));
    this.#inFlight = [];
    batch.chunks.forEach((chunk, i) => this.#advance(sequences[i]!, chunk, draws[i]));
    for (const group of groupsOf(sequences)) this.#advanceSearch(group);
  }

  /** Ends an entry: reports the last event of each of its answers, and forgets it. */
  end(entry: Sequence, report: Report & { readonly finishReason: FinishReason }): void {
    for (const answer of entry.answers) this.#report(entry, answer, report);
    const { finishReason: reason } = report;
    const waiting = entry.members.filter(({ state }) => state === "waiting");
    for (const { id: sequenceId } of waiting) {
      this.#options.onDecision?.({ type: "end", sequenceId, reason });
    }
    this.#release(entry);
  }

  /** Returns the events so far, in order, and forgets them. */
  takeEvents(): TokenEvent[] {
    return this.#events.take();
  }

  /** Tells the log that a sequence waits for its first block table. */
  reportQueued({ id: sequenceId, requestId, index, numTokens }: Sequence): void {
    this.#options.onDecision?.({ type: "queue", requestId, sequenceId, index, numTokens });
  }

  /** Ends the entry of a sequence for which no token could be drawn. */
  #endUndrawn(sequence: Sequence, drawn: SampledToken | undefined): void {
    if (drawn?.failure === undefined || sequence.state === "finished") return;
    const entry = sequence instanceof Beam ? sequence.group : sequence;
    this.end(entry, { finishReason: "error", error: nonfiniteLogits(drawn.failure) });
  }

  #advance(sequence: Sequence, chunk: ScheduledChunk, drawn: SampledToken | undefined): void {
    const end = chunk.start + chunk.tokens.length;
    this.#counters.countChunk(sequence, chunk);
    if (drawn?.failure !== undefined) {
      this.#blocks.discard(sequence.id, sequence.allTokens, drawn.failure.numSoundTokens);
      return;
    }
    this.#blocks.markComputed(sequence.id, sequence.allTokens, end);
    if (sequence.state === "finished") {
      this.#blocks.free(sequence.id);
      return;
    }
    sequence.numComputedTokens = end;
    if (drawn === undefined) return;
    if (sequence instanceof Beam) return sequence.group.take(sequence, drawn);
    const { sequenceId: _, ...report } = drawn;
    sequence.append(report.token);
    const reason = finishReason(sequence, report.token, this.#options.maxModelLen);
    if (reason === undefined) this.#report(sequence, sequence, report);
    else this.end(sequence, { ...report, finishReason: reason });
  }

  /** Takes a search further for which a step has computed something. */
  #advanceSearch(group: BeamGroup): void {
    const { dropped, added } = group.advance();
    for (const { id } of dropped) this.#blocks.free(id);
    for (const beam of added) this.reportQueued(beam);
    if (!group.isDone) return;
    for (const { answer, report } of answerEvents(group)) this.#report(group, answer, report);
    this.#release(group);
  }

  #report(entry: Sequence, answer: Answer, report: Report): void {
    if (report.token !== undefined) this.#counters.countToken(entry, !answer.hasReported);
    this.#events.add(answer, report);
  }

  #release(entry: Sequence): void {
    const { members } = entry;
    for (const member of members) {
      const isInFlight = this.#inFlight.includes(member);
      if (member.state === "running" && !isInFlight) this.#blocks.free(member.id);
      const [scope, tokens] = seenBy(member);
      this.#options.onEnd?.(scope, tokens.subarray(0, member.numComputedTokens));
    }
    this.#queues.end(entry);
    for (const member of members) member.state = "finished";
  }
}

/** The searches among those that a step was for, each once, without those that have ended since. */
function groupsOf(sequences: readonly Sequence[]): Iterable<BeamGroup> {
  const beams = sequences.filter((sequence) => sequence instanceof Beam);
  return new Set(beams.filter(({ state }) => state === "running").map(({ group }) => group));
}
