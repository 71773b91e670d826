import { alignDown, ceilDiv } from "../base/math.ts";
import type { CacheSpec } from "./cache_group.ts";

/** Which of the positions up to its own a query reads. */
export interface ReadSpan {
  /** How many of the last ones, its own included; 0 for all. */
  readonly window: number;
  /** Whether these are those of its own attention chunk of `window`, in place of the last ones. */
  readonly isChunked: boolean;
  /** First positions that every query reads besides. */
  readonly numSinkTokens: number;
}

/** All positions up to its own. */
export const READS_ALL: ReadSpan = { window: 0, isChunked: false, numSinkTokens: 0 };

/** The span of a layer's queries; of a state or an encoder, which no query reads so, all. */
export function readSpan(spec: CacheSpec): ReadSpan {
  switch (spec.kind) {
    case "sliding_window": {
      const { window, numSinkTokens = 0 } = spec;
      return { window, isChunked: false, numSinkTokens };
    }
    case "chunked_local":
      return { window: spec.window, isChunked: true, numSinkTokens: 0 };
    default:
      return READS_ALL;
  }
}

/** The first position, sinks aside, that a query at `position` reads. */
export function firstRead({ window, isChunked }: ReadSpan, position: number): number {
  if (window === 0) return 0;
  return isChunked ? alignDown(position, window) : Math.max(0, position + 1 - window);
}

/**
 * The splits of a context that its last query reads: `[0, numSinkSplits)` and `[start, end)`, which
 * never overlap. Split `i` is positions `[i * splitLen, (i + 1) * splitLen)`, whatever is read.
 */
export interface SplitRange {
  readonly numSinkSplits: number;
  readonly start: number;
  readonly end: number;
}

/** The splits that the query at the end of `contextLen` positions, at least one, reads. */
export function splitRange(span: ReadSpan, contextLen: number, splitLen: number): SplitRange {
  const start = Math.floor(firstRead(span, contextLen - 1) / splitLen);
  return {
    numSinkSplits: Math.min(ceilDiv(span.numSinkTokens, splitLen), start),
    start,
    end: ceilDiv(contextLen, splitLen),
  };
}

/** How many splits a range names. */
export function numSplitsOf({ numSinkSplits, start, end }: SplitRange): number {
  return numSinkSplits + end - start;
}

/** The first position of the `i`th split of a range, in the order of positions. */
export function splitBegin(
  { numSinkSplits, start }: SplitRange,
  i: number,
  splitLen: number,
): number {
  return (i < numSinkSplits ? i : i - numSinkSplits + start) * splitLen;
}
