import type { SamplingParams } from "../../core/sampling_params.ts";
import { describeAction } from "../../core/describe_decision.ts";
import type { LoggedDecision } from "../../core/kv_decision.ts";
import type { RequestTraces } from "./request_traces.ts";
import type { SequenceTrace } from "./sequence_trace.ts";

/** Values that a span or an event of it has. */
export type SpanAttributes = Readonly<
  Record<string, string | number | boolean | readonly string[]>
>;

/** Something that happened within a span. */
export interface SpanEvent {
  readonly name: string;
  /** Unix time, ms. */
  readonly timeMs: number;
  readonly attributes: SpanAttributes;
}

/** A span that is over. */
export interface EndedSpan {
  readonly name: string;
  /** Unix times, ms. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: SpanAttributes;
  readonly events?: readonly SpanEvent[];
  /** What went wrong; absent: nothing. */
  readonly error?: string;
  readonly children?: readonly EndedSpan[];
}

/** Records OpenTelemetry's spans, for those who follow requests across services. */
export interface Spans {
  /**
   * Keeps the span of the request that is handled now: those that are given to the returned
   * function later are its children.
   */
  here(): (span: EndedSpan) => void;
}

/** Sequences of a request that have spans of their own. */
const MAX_SEQUENCES = 32;

/** What is known of a request beside its request traces. Unix times, ms. */
export interface SpannedRequest {
  readonly id: string;
  /** As of OpenTelemetry's `gen_ai.operation.name`. */
  readonly operation: string;
  readonly model: string;
  readonly params: SamplingParams | undefined;
  readonly numSequences: number;
  readonly arrivedMs: number;
  readonly endedMs: number;
  /** When its text became token ids; absent where ids were sent. */
  readonly tokenized?: { readonly startMs: number; readonly endMs: number } | undefined;
  readonly numPromptTokens: number;
  readonly numCachedTokens: number;
  readonly numGeneratedTokens: number;
  readonly finishReasons: readonly string[];
  /** From its arrival to its first token, ms. */
  readonly firstTokenMs: number | undefined;
}

/**
 * The span of a request, with attributes by OpenTelemetry's conventions for generative AI and
 * vLLM's for latencies, and below it those of its parts: `tokenize`, and of each sequence `queue`,
 * `prefill` and `decode`, with the marks of its trace as events.
 */
export function spanOf(request: SpannedRequest, traces: RequestTraces): EndedSpan {
  const { id, operation, model, arrivedMs, endedMs, tokenized, finishReasons } = request;
  const sequences = traces.ofRequest(id).slice(0, MAX_SEQUENCES);
  const failed = finishReasons.includes("error");
  return {
    name: `${operation} ${model}`,
    startMs: arrivedMs,
    endMs: endedMs,
    attributes: attributesOf(request),
    ...(failed ? { error: "a sequence ended with an error" } : {}),
    children: [
      ...(tokenized === undefined ? [] : [{
        name: "tokenize",
        ...tokenized,
        attributes: { "gen_ai.usage.input_tokens": request.numPromptTokens },
      }]),
      ...sequences.flatMap((trace) => partsOf(trace, endedMs)),
    ],
  };
}

function attributesOf(request: SpannedRequest): SpanAttributes {
  const { id, model, params, firstTokenMs, arrivedMs, endedMs } = request;
  return {
    "gen_ai.operation.name": request.operation,
    "gen_ai.provider.name": "quire",
    "gen_ai.request.model": model,
    "gen_ai.response.model": model,
    "gen_ai.request.id": id,
    "gen_ai.response.id": id,
    "gen_ai.request.n": request.numSequences,
    ...(params === undefined ? {} : {
      "gen_ai.request.max_tokens": params.maxTokens,
      "gen_ai.request.temperature": params.temperature,
      "gen_ai.request.top_p": params.topP,
      "gen_ai.request.top_k": params.topK,
    }),
    "gen_ai.usage.input_tokens": request.numPromptTokens,
    "gen_ai.usage.cache_read.input_tokens": request.numCachedTokens,
    "gen_ai.usage.output_tokens": request.numGeneratedTokens,
    "gen_ai.response.finish_reasons": request.finishReasons,
    ...(firstTokenMs === undefined
      ? {}
      : { "gen_ai.latency.time_to_first_token": firstTokenMs / 1000 }),
    "gen_ai.latency.e2e": (endedMs - arrivedMs) / 1000,
  };
}

/** The parts of a sequence's way; the last ends with the request where it has no end of its own. */
function partsOf(trace: SequenceTrace, requestEndMs: number): EndedSpan[] {
  const { index, queuedMs, admittedMs, firstTokenMs, finishedMs } = trace;
  const endMs = finishedMs ?? requestEndMs;
  const starts: [name: string, startMs: number | undefined][] = [
    ["queue", queuedMs],
    ["prefill", admittedMs],
    ["decode", firstTokenMs],
  ];
  const known = starts.filter((part): part is [string, number] => part[1] !== undefined);
  return known.map(([name, startMs], i) => {
    const until = known[i + 1]?.[1];
    const marks = trace.marks.filter(({ timeMs }) =>
      timeMs !== undefined && timeMs >= startMs && (until === undefined || timeMs < until)
    );
    return {
      name,
      startMs,
      endMs: Math.max(startMs, until ?? endMs),
      attributes: { "quire.sequence": index, ...partAttributes(name, trace) },
      events: marks.map(eventOf),
    };
  });
}

function partAttributes(name: string, trace: SequenceTrace): SpanAttributes {
  if (name === "queue") return {};
  if (name === "decode") return { "quire.preemptions": trace.numPreemptions };
  return {
    "gen_ai.usage.cache_read.input_tokens": trace.numCachedTokens,
    "quire.chunks": trace.numChunks,
  };
}

function eventOf(mark: LoggedDecision): SpanEvent {
  const attributes = { "quire.step": mark.step, "quire.words": describeAction(mark) };
  return { name: mark.type, timeMs: mark.timeMs!, attributes };
}
