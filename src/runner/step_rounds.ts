import { ceilDiv } from "../base/math.ts";
import type { Batch, ScheduledChunk } from "../core/batch.ts";
import type { StepLimits } from "./step_limits.ts";

/** Whether a chunk is one token, whose attention is a decode's: by splits of its context. */
export function isDecode({ tokens }: ScheduledChunk): boolean {
  return tokens.length === 1;
}

/** Splits that a chunk's context takes in a step, or `numTokens` further on; 0 unless it is a decode. */
export function splitsOf(
  chunk: ScheduledChunk,
  { splitLen }: Pick<StepLimits, "splitLen">,
  numTokens = 0,
): number {
  return isDecode(chunk) ? ceilDiv(chunk.start + 1 + numTokens, splitLen) : 0;
}

/**
 * Cuts a batch into batches whose decodes have at most `maxSplits` splits each: itself where it has no
 * more, else one after the other, in the order of its chunks. They may run one by one, since no chunk
 * reads what another of its batch writes; the copies, which some read, come with the first.
 *
 * A split is a fixed number of positions, so that the rounds change no sequence's numbers. A pool's
 * positions alone do not bound a step's splits: sequences that share blocks count them once each.
 */
export function roundsOf(
  batch: Batch,
  limits: Pick<StepLimits, "splitLen" | "maxSplits">,
): readonly Batch[] {
  const splits = batch.chunks.map((chunk) => splitsOf(chunk, limits));
  if (splits.reduce((sum, count) => sum + count, 0) <= limits.maxSplits) return [batch];
  const rounds: ScheduledChunk[][] = [[]];
  let numSplits = 0;
  batch.chunks.forEach((chunk, i) => {
    numSplits += splits[i]!;
    if (numSplits > limits.maxSplits) {
      rounds.push([]);
      numSplits = splits[i]!;
    }
    rounds.at(-1)!.push(chunk);
  });
  const { copies, ...rest } = batch;
  return rounds.map((chunks, i) => ({
    ...rest,
    ...(i === 0 && copies !== undefined ? { copies } : {}),
    chunks,
    numTokens: chunks.reduce((sum, { tokens }) => sum + tokens.length, 0),
  }));
}
