import { ceilDiv } from "../base/math.ts";
import { type Batch, numDecodeStepsOf, type ScheduledChunk } from "../core/batch.ts";
import { numSplitsOf, READS_ALL, type ReadSpan, splitRange } from "../core/read_span.ts";
import { spansOf, type StepLimits } from "./step_limits.ts";

/** Whether a chunk is one token, whose attention is a decode's: by splits of its context. */
export function isDecode({ tokens }: ScheduledChunk): boolean {
  return tokens.length === 1;
}

/**
 * Splits of a chunk's context that are read in a step, or `numTokens` further on, in a cache group
 * of this span; 0 unless it is a decode.
 */
export function splitsOf(
  chunk: ScheduledChunk,
  splitLen: number,
  span: ReadSpan = READS_ALL,
  numTokens = 0,
): number {
  if (!isDecode(chunk)) return 0;
  const contextLen = chunk.start + 1 + numTokens;
  if (span.window === 0) return ceilDiv(contextLen, splitLen);
  return numSplitsOf(splitRange(span, contextLen, splitLen));
}

/**
 * Cuts a batch into sub-batches whose decodes have at most `maxSplits` splits each in any cache
 * group, in the order of its chunks; the batch itself where it has no more. Sub-batches run one
 * after the other: no chunk reads what another chunk of its batch writes, and the block copies run
 * with the first.
 *
 * A split is a fixed number of positions, so that cutting changes no sequence's numbers. A pool's
 * positions alone do not bound a step's splits: sequences that share blocks count them once each.
 */
export function subBatches(
  batch: Batch,
  limits: Pick<StepLimits, "splitLen" | "maxSplits" | "spans">,
): readonly Batch[] {
  // Of the group that reads most of it, which bounds the sum of every group, in the last step.
  const splits = batch.chunks.map((chunk) =>
    Math.max(
      ...spansOf(limits).map((span) =>
        splitsOf(chunk, limits.splitLen, span, numDecodeStepsOf(chunk) - 1)
      ),
    )
  );
  if (splits.reduce((sum, count) => sum + count, 0) <= limits.maxSplits) return [batch];
  const runs: ScheduledChunk[][] = [[]];
  let numSplits = 0;
  batch.chunks.forEach((chunk, i) => {
    numSplits += splits[i]!;
    if (numSplits > limits.maxSplits) {
      runs.push([]);
      numSplits = splits[i]!;
    }
    runs.at(-1)!.push(chunk);
  });
  const { copies, ...rest } = batch;
  return runs.map((chunks, i) => ({
    ...rest,
    ...(i === 0 && copies !== undefined ? { copies } : {}),
    chunks,
    numTokens: chunks.reduce((sum, { tokens }) => sum + tokens.length, 0),
  }));
}
