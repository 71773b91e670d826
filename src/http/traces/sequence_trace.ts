import type { RequestId } from "../../core/ids.ts";
import { describeAction } from "../../core/describe_decision.ts";
import type { LoggedDecision } from "../../core/kv_decision.ts";
import type { FinishReason } from "../../core/token_event.ts";

/** Marks that are kept of a sequence: as many of its first ones, and as many of its latest. */
const MAX_FIRST = 32;
const MAX_LATEST = 32;

/** The part of a request trace that is one sequence's: what has happened to it, and why. */
export interface SequenceTrace {
  readonly requestId: RequestId;
  readonly index: number;
  readonly state: "waiting" | "running" | "finished";
  /** The first and the latest of its marks, oldest first. */
  readonly marks: readonly LoggedDecision[];
  /** Marks left out between those. */
  readonly numLeftOut: number;
  /** Prompt tokens that its first admission found computed. */
  readonly numCachedTokens: number;
  /** Chunks of its prompt and of what was computed again, and their positions. */
  readonly numChunks: number;
  readonly numChunkTokens: number;
  readonly numPreemptions: number;
  readonly finishReason: FinishReason | undefined;
  /** Unix time of each of its turning points, ms; undefined for one that has not come. */
  readonly queuedMs: number | undefined;
  readonly admittedMs: number | undefined;
  readonly firstTokenMs: number | undefined;
  readonly finishedMs: number | undefined;
}

/** The times of a sequence in ms; undefined for a part that it has not come through. */
export interface SequencePhases {
  /** From the queue to its first admission. */
  readonly queueMs: number | undefined;
  /** From there to its first token. */
  readonly prefillMs: number | undefined;
  /** From there to its end. */
  readonly decodeMs: number | undefined;
}

/** The parts of a sequence's way. A clock that was set back makes none negative. */
export function phasesOf(
  { queuedMs, admittedMs, firstTokenMs, finishedMs }: SequenceTrace,
): SequencePhases {
  return {
    queueMs: between(queuedMs, admittedMs),
    prefillMs: between(admittedMs, firstTokenMs),
    decodeMs: between(firstTokenMs, finishedMs),
  };
}

/**
 * The way of a sequence as lines for people, each with the ms since it was queued.
 *
 * @param namesOthers whether the requests that it waited for are named: not to their strangers.
 */
export function describeSequenceTrace(
  { marks, numLeftOut, queuedMs }: SequenceTrace,
  { namesOthers }: { readonly namesOthers: boolean },
): readonly string[] {
  const lines = marks.map((mark) => {
    const ms = String(between(queuedMs, mark.timeMs) ?? 0).padStart(6);
    return `+${ms} ms  ${describeAction(namesOthers ? mark : withoutOthers(mark))}`;
  });
  if (numLeftOut > 0) lines.splice(MAX_FIRST, 0, `... ${numLeftOut} more ...`);
  return lines;
}

/** A decision as it is told to a request's own client, which is to learn of no other one. */
export function withoutOthers({ otherRequestId: _, ...decision }: LoggedDecision): LoggedDecision {
  return decision;
}

/** The way of a sequence as clients read it, as of {@link describeSequenceTrace}. */
export function sequenceTraceJson(
  trace: SequenceTrace,
  options: { readonly namesOthers: boolean },
): Record<string, unknown> {
  const { queueMs, prefillMs, decodeMs } = phasesOf(trace);
  return {
    index: trace.index,
    state: trace.state,
    queue_ms: queueMs ?? null,
    prefill_ms: prefillMs ?? null,
    decode_ms: decodeMs ?? null,
    cached_tokens: trace.numCachedTokens,
    chunks: trace.numChunks,
    chunk_tokens: trace.numChunkTokens,
    preemptions: trace.numPreemptions,
    finish_reason: trace.finishReason ?? null,
    lines: describeSequenceTrace(trace, options),
  };
}

/** One that grows with each decision about its sequence. */
export class OpenSequenceTrace implements SequenceTrace {
  readonly requestId: RequestId;
  readonly index: number;
  state: SequenceTrace["state"] = "waiting";
  readonly #first: LoggedDecision[] = [];
  readonly #latest: LoggedDecision[] = [];
  numLeftOut = 0;
  numCachedTokens = 0;
  numChunks = 0;
  numChunkTokens = 0;
  numPreemptions = 0;
  finishReason: FinishReason | undefined;
  queuedMs: number | undefined;
  admittedMs: number | undefined;
  firstTokenMs: number | undefined;
  finishedMs: number | undefined;

  constructor(requestId: RequestId, index: number) {
    this.requestId = requestId;
    this.index = index;
  }

  get marks(): readonly LoggedDecision[] {
    return [...this.#first, ...this.#latest];
  }

  /** Takes a mark in; they come in their order. */
  take(mark: LoggedDecision): void {
    // The end of a search is told once for each of its answers.
    if (mark.type === "finish" && this.finishReason !== undefined) return;
    this.#note(mark);
    if (this.#first.length < MAX_FIRST) this.#first.push(mark);
    else if (this.#latest.push(mark) > MAX_LATEST) {
      this.#latest.shift();
      this.numLeftOut++;
    }
  }

  #note(mark: LoggedDecision): void {
    const { timeMs } = mark;
    switch (mark.type) {
      case "queue":
        // Again, where its engine was lost and another has taken it over.
        this.state = "waiting";
        this.queuedMs ??= timeMs;
        return;
      case "admit":
        this.state = "running";
        if (this.admittedMs === undefined) this.numCachedTokens = mark.numCachedTokens;
        this.admittedMs ??= timeMs;
        return;
      case "chunk":
        this.numChunks++;
        this.numChunkTokens += mark.count;
        return;
      case "preempt":
        this.state = "waiting";
        this.numPreemptions++;
        return;
      case "first_token":
        this.firstTokenMs ??= timeMs;
        return;
      case "finish":
        this.state = "finished";
        this.finishReason = mark.reason;
        this.finishedMs = timeMs;
    }
  }
}

function between(fromMs: number | undefined, toMs: number | undefined): number | undefined {
  return fromMs === undefined || toMs === undefined ? undefined : Math.max(0, toMs - fromMs);
}
