import { NO_TOKEN } from "../../kernels/sampling/segments.ts";
import { SAMPLED, SAMPLED_WORDS } from "../../kernels/step.ts";
import { invariant } from "../base/invariant.ts";
import type { ChunkOutput, ScheduledChunk, TokenLogprob } from "../core/batch.ts";
import { bitsToF32 } from "../base/float_bits.ts";

/** Bytes of so many rows of `sampled`. */
export function sampledBytes(numRows: number): number {
  return numRows * SAMPLED_WORDS * 4;
}

/** One row of `sampled`. */
export function sampledRow(rows: Uint32Array, index: number): Uint32Array {
  return rows.subarray(index * SAMPLED_WORDS, (index + 1) * SAMPLED_WORDS);
}

/** Whether a row has no token: its logits are not finite, or all of its tokens are banned. */
export function hasNoToken(row: Uint32Array): boolean {
  return row[SAMPLED.token] === NO_TOKEN;
}

/** The log-probability of a row's token. */
export function logprobOf(row: Uint32Array): number {
  return bitsToF32(row[SAMPLED.logprob]!);
}

/** The likeliest tokens that a row reports, best first. */
export function topLogprobs(row: Uint32Array, count: number): TokenLogprob[] {
  return Array.from({ length: count }, (_, i) => ({
    token: row[SAMPLED.top + 2 * i]!,
    logprob: bitsToF32(row[SAMPLED.top + 2 * i + 1]!),
  }));
}

/** The draws of a chunk in order, by their rows of `sampled`, until one fails. */
export function drawnOutputs(
  { sequenceId, draw }: ScheduledChunk,
  draws: readonly number[],
  rows: Uint32Array,
  vocabSize: number,
): ChunkOutput[] {
  const outputs: ChunkOutput[] = [];
  for (const index of draws) {
    const row = sampledRow(rows, index);
    if (hasNoToken(row)) {
      outputs.push({ type: "failed", failure: { numSoundTokens: 0 } });
      return outputs;
    }
    const token = row[SAMPLED.token]!;
    invariant(token < vocabSize, `sequence ${sequenceId} drew token ${token} of ${vocabSize}`);
    const { numLogprobs } = draw!;
    const logprobs = numLogprobs === undefined
      ? {}
      : { logprob: logprobOf(row), topLogprobs: topLogprobs(row, numLogprobs) };
    outputs.push({ type: "token", token, ...logprobs });
  }
  return outputs;
}
