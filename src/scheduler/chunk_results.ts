import { invariant, InvariantError } from "../base/invariant.ts";
import {
  asksForOutput,
  type Batch,
  type ChunkOutput,
  type ChunkResult,
  type DrawFailure,
  isCorrupt,
  numDecodeStepsOf,
  type ScheduledChunk,
} from "../core/batch.ts";

/** The outputs of a chunk that asks for none. */
const NO_OUTPUTS: readonly ChunkOutput[] = [];

/**
 * Fails unless there is one result per chunk that asks for something, in the chunks' order, with as
 * many outputs as it asks for, or a failure in place of one of its steps; of one whose sequence is
 * loaded perhaps that it is corrupt.
 */
export function checkResults(
  { step, chunks, swapIns = [] }: Batch,
  results: readonly ChunkResult[],
): void {
  let numAsked = 0;
  for (const chunk of chunks) {
    const { sequenceId } = chunk;
    const next = results[numAsked];
    if (next?.sequenceId === sequenceId && isCorrupt(next)) {
      const isLoaded = swapIns.some((load) => load.sequenceId === sequenceId);
      invariant(
        isLoaded,
        `step ${step} found sequence ${sequenceId} corrupt, which it did not load`,
      );
      numAsked++;
    } else if (asksForOutput(chunk)) {
      if (next !== undefined) checkResult(step, chunk, next);
      numAsked++;
    }
  }
  invariant(
    numAsked === results.length,
    `step ${step} has ${results.length} results, asked were ${numAsked}`,
  );
}

function checkResult(
  step: number,
  chunk: ScheduledChunk,
  { sequenceId, outputs }: ChunkResult,
): void {
  if (sequenceId !== chunk.sequenceId) {
    throw new InvariantError(
      `step ${step} has a result of sequence ${sequenceId}, asked was ${chunk.sequenceId}`,
    );
  }
  const { length } = outputs;
  const numOutputs = numOutputsOf(chunk);
  const hasFailed = outputs.at(-1)?.type === "failed" && length <= numDecodeStepsOf(chunk);
  if (length === numOutputs || hasFailed) return;
  throw new InvariantError(
    `step ${step} has ${length} outputs of sequence ${sequenceId}, asked was ${numOutputs}`,
  );
}

/** The outputs of each chunk, in the chunks' order, of results that have been checked. */
export function outputsOf(
  chunks: readonly ScheduledChunk[],
  results: readonly ChunkResult[],
): (readonly ChunkOutput[])[] {
  let numTaken = 0;
  return chunks.map((chunk) => {
    const next = results[numTaken];
    const isOfChunk = asksForOutput(chunk) ||
      (next?.sequenceId === chunk.sequenceId && isCorrupt(next));
    if (!isOfChunk) return NO_OUTPUTS;
    numTaken++;
    return next!.outputs;
  });
}

/** Why one of these could not be drawn; undefined if all were. */
export function failureOf(outputs: readonly ChunkOutput[]): DrawFailure | undefined {
  for (const output of outputs) if (output.type === "failed") return output.failure;
  return undefined;
}

function numOutputsOf({ draw, score, pooling, numDecodeSteps = 1 }: ScheduledChunk): number {
  // Most ask for draws alone.
  if ((score ?? pooling) === undefined) return numDecodeSteps;
  return [draw, score, pooling].filter((asked) => asked !== undefined).length;
}
