import type { NumberedLog } from "../../base/numbered_log.ts";
import type { RequestId } from "../../core/ids.ts";
import type { LoggedDecision } from "../../core/kv_decision.ts";
import { OpenSequenceTrace, type SequenceTrace } from "./sequence_trace.ts";

/** The decisions that are marks on the way of a sequence; the others are about single blocks. */
const MARKS: ReadonlySet<LoggedDecision["type"]> = new Set([
  ...["queue", "wait", "admit", "chunk", "first_token", "finish"] as const,
  ...["preempt", "swap_out", "recompute", "swap_in", "swap_drop"] as const,
]);

/** Sequences whose traces are kept. */
const MAX_SEQUENCES = 4096;

/**
 * What has happened to each request of late, derived from the engine's decisions: a trace per
 * sequence, for explanations, the log, histograms and spans.
 *
 * Decisions are read when a trace is asked for, each once. The answers of a beam search share one
 * trace. Times are those of the engine's wall clock, in whole milliseconds.
 */
export class RequestTraces {
  readonly #decisions: Pick<NumberedLog<LoggedDecision>, "from" | "nextSeq">;
  readonly #maxNumSequences: number;
  /** By request, the oldest first, and its sequences by index, ascending. */
  readonly #requests = new Map<RequestId, OpenSequenceTrace[]>();
  #nextSeq: number;
  #numSequences = 0;

  /** Reads what `decisions` are appended from now on; keeps `maxNumSequences` traces. */
  constructor(
    decisions: Pick<NumberedLog<LoggedDecision>, "from" | "nextSeq">,
    maxNumSequences: number = MAX_SEQUENCES,
  ) {
    this.#decisions = decisions;
    this.#nextSeq = decisions.nextSeq;
    this.#maxNumSequences = maxNumSequences;
  }

  /** The sequences of a request, which grow on; empty for one that is not known any more. */
  ofRequest(id: RequestId): readonly SequenceTrace[] {
    this.#catchUp();
    return this.#requests.get(id) ?? [];
  }

  /** The trace of sequence `index`, or of the search whose answer it is. */
  of(id: RequestId, index: number): SequenceTrace | undefined {
    return this.ofRequest(id).findLast((trace) => trace.index <= index);
  }

  /** Takes in what was decided since the last time. O(decisions). */
  #catchUp(): void {
    if (this.#nextSeq === this.#decisions.nextSeq) return;
    for (const { item } of this.#decisions.from(this.#nextSeq)) {
      const { type, requestId, index } = item;
      if (requestId === undefined || index === undefined || !MARKS.has(type)) continue;
      this.#traceOf(requestId, index, type === "queue").take(item);
    }
    this.#nextSeq = this.#decisions.nextSeq;
  }

  /** `isOwn`: the sequence has a trace of its own, and does not share one. */
  #traceOf(id: RequestId, index: number, isOwn: boolean): OpenSequenceTrace {
    const sequences = this.#requests.get(id) ?? [];
    const known = sequences.findLast((trace) => trace.index <= index);
    if (known !== undefined && (!isOwn || known.index === index)) return known;
    const trace = new OpenSequenceTrace(id, index);
    this.#requests.set(id, sequences);
    sequences.push(trace);
    this.#numSequences++;
    this.#forgetOldest();
    return trace;
  }

  #forgetOldest(): void {
    for (const [id, { length }] of this.#requests) {
      if (this.#numSequences <= this.#maxNumSequences || this.#requests.size === 1) return;
      this.#requests.delete(id);
      this.#numSequences -= length;
    }
  }
}
