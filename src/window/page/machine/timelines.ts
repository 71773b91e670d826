import type { ChunkRow, Decision, SequenceRow } from "./frames.ts";

/** What happened to a sequence, and when (Unix ms). */
export interface Mark {
  readonly kind: "queue" | "wait" | "admit" | "chunk" | "preempt" | "end";
  readonly timeMs: number;
  readonly words: string;
}

/** The way of one sequence from the queue to its end. */
export interface Timeline {
  readonly id: number;
  readonly requestId: string;
  readonly index: number;
  readonly marks: readonly Mark[];
  /** Why it waits, in words; undefined while it runs. */
  readonly waits: string | undefined;
  readonly hasEnded: boolean;
}

/** A span of a timeline in one state. */
export interface Span {
  readonly state: "waiting" | "running";
  readonly fromMs: number;
  readonly toMs: number;
}

/** Ended sequences that are kept, and marks of each. */
const MAX_ENDED = 24;
const MAX_MARKS = 200;

interface OpenTimeline extends Timeline {
  marks: Mark[];
  waits: string | undefined;
  hasEnded: boolean;
}

/** The timelines of all sequences that were heard of, from decisions and chunks. */
export class Timelines {
  readonly #all = new Map<number, OpenTimeline>();

  /** A timeline by its sequence. */
  of(id: number): Timeline | undefined {
    return this.#all.get(id);
  }

  /** Those that have ended, the latest first. */
  get ended(): readonly Timeline[] {
    return [...this.#all.values()].filter(({ hasEnded }) => hasEnded).reverse();
  }

  clear(): void {
    this.#all.clear();
  }

  /** Takes a decision in; they come in their order. */
  decide(decision: Decision): void {
    const { type, sequence_id: id, request_id: requestId, index = 0, time_ms: timeMs = 0 } =
      decision;
    if (id === undefined || requestId === undefined) return;
    let timeline = this.#all.get(id);
    // Sequences are numbered anew when the engine restarts.
    if (timeline === undefined || type === "queue") {
      timeline = { id, requestId, index, marks: [], waits: undefined, hasEnded: false };
      this.#all.set(id, timeline);
    }
    const words = wordsOf(decision);
    if (type === "queue" || type === "admit" || type === "preempt" || type === "wait") {
      push(timeline, { kind: type, timeMs, words });
      timeline.waits = type === "wait" ? words : type === "admit" ? undefined : timeline.waits;
      if (type === "preempt") timeline.waits = "it was preempted and waits for its blocks again";
    } else if (type === "free" || type === "end") {
      push(timeline, { kind: "end", timeMs, words });
      this.#end(timeline);
    }
  }

  chunk([id, , timeMs, start, count]: ChunkRow): void {
    const timeline = this.#all.get(id);
    const words = `computes positions ${start} to ${start + count - 1}`;
    if (timeline !== undefined) push(timeline, { kind: "chunk", timeMs, words });
  }

  /** Says which sequences are unfinished, so that none is kept whose end was missed. */
  keep(sequences: readonly SequenceRow[], isComplete: boolean): void {
    if (!isComplete) return;
    const there = new Set(sequences.map(({ id }) => id));
    for (const timeline of this.#all.values()) {
      if (!timeline.hasEnded && !there.has(timeline.id)) this.#end(timeline);
    }
  }

  #end(timeline: OpenTimeline): void {
    timeline.hasEnded = true;
    timeline.waits = undefined;
    // To the end of those that are kept.
    this.#all.delete(timeline.id);
    this.#all.set(timeline.id, timeline);
    const ended = [...this.#all.values()].filter(({ hasEnded }) => hasEnded);
    for (const { id } of ended.slice(0, -MAX_ENDED)) this.#all.delete(id);
  }
}

/** The states of a timeline one after the other; the last goes on until `nowMs` or its end. */
export function spansOf({ marks, hasEnded }: Timeline, nowMs: number): Span[] {
  const spans: Span[] = [];
  let state: Span["state"] | undefined;
  let fromMs = 0;
  const close = (toMs: number) => {
    if (state !== undefined && toMs > fromMs) spans.push({ state, fromMs, toMs });
    fromMs = toMs;
  };
  for (const { kind, timeMs } of marks) {
    if (kind === "wait" || kind === "chunk") {
      if (state === undefined) fromMs = timeMs;
      state ??= kind === "wait" ? "waiting" : "running";
      continue;
    }
    close(timeMs);
    fromMs = timeMs;
    state = kind === "admit" ? "running" : kind === "end" ? undefined : "waiting";
  }
  if (!hasEnded) close(nowMs);
  return spans;
}

function push(timeline: OpenTimeline, mark: Mark): void {
  timeline.marks.push(mark);
  if (timeline.marks.length > MAX_MARKS) timeline.marks.splice(1, 1);
}

/** The sentence of a decision without step and sequence. */
function wordsOf({ text }: Decision): string {
  return text.replace(/^step \d+: \S+ /, "").replace(/^waits: /, "");
}
