import type { LogFields, Logger } from "../../base/log.ts";
import { describeSequenceTrace, phasesOf, type SequenceTrace } from "./sequence_trace.ts";

/** Sequences of a request whose way is a line of its own. */
const MAX_LINES = 16;

/**
 * Where the time of a request went, for its line in the log: of several sequences the longest
 * times. Empty for a request that is not known.
 */
export function requestTraceFields(traces: readonly SequenceTrace[]): LogFields {
  const phases = traces.map(phasesOf);
  const longest = (name: string, values: readonly (number | undefined)[]) => {
    const known = values.filter((value) => value !== undefined);
    return known.length === 0 ? {} : { [name]: Math.round(Math.max(...known)) };
  };
  const numPreemptions = traces.reduce((sum, trace) => sum + trace.numPreemptions, 0);
  return {
    ...longest("queue_ms", phases.map(({ queueMs }) => queueMs)),
    ...longest("prefill_ms", phases.map(({ prefillMs }) => prefillMs)),
    ...longest("decode_ms", phases.map(({ decodeMs }) => decodeMs)),
    ...(numPreemptions === 0 ? {} : { preemptions: numPreemptions }),
  };
}

/** Tells the whole way of each sequence, a debug line for each. */
export function logRequestTrace(log: Logger, traces: readonly SequenceTrace[]): void {
  if (!log.isDebug) return;
  for (const trace of traces.slice(0, MAX_LINES)) {
    const { requestId: id, index, numCachedTokens: cached_tokens, numChunks: chunks } = trace;
    const way = describeSequenceTrace(trace, { namesOthers: true })
      .map((line) => line.replace(/ +/g, " ").replace("+ ", "+"))
      .join("; ");
    log.debug("trace", { id, index, cached_tokens, chunks, way });
  }
}
