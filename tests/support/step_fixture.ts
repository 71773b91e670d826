import { SOFTWARE_TUNING } from "../../kernels/tuning/tuning.ts";
import { READS_ALL, type ReadSpan } from "../../src/core/read_span.ts";
import type { ScheduledChunk } from "../../src/core/batch.ts";
import type { PackedStep } from "../../src/runner/step_packer.ts";
import { StepPacker } from "../../src/runner/step_packer.ts";

/** A sequence of a test step: `count` new tokens after `start` ones. */
export interface ChunkShape {
  readonly start: number;
  readonly count: number;
}

/** Block tables that share no block and follow no order, in a pool of `numBlocks`. */
export function scatteredTables(lengths: readonly number[], numBlocks: number): number[][] {
  let stride = Math.floor(numBlocks / 2) | 1;
  while (greatestCommonDivisor(stride, numBlocks) > 1) stride += 2;
  let next = 0;
  return lengths.map((length) =>
    Array.from({ length }, () => (numBlocks - 1 + next++ * stride) % numBlocks)
  );
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** How a step of a test is packed. */
interface PackOptions {
  readonly blockSize: number;
  readonly numBlocks: number;
  readonly queryTile: number;
  /** That of the software tuning unless given. */
  readonly splitLen?: number;
  readonly sampled?: boolean;
  /**
   * What queries read in each cache group; the tables are those of the last one, and others have
   * the same blocks in another order. Default: one group of full attention.
   */
  readonly spans?: readonly ReadSpan[];
}

/** Packs one step of the given chunks over scattered block tables; copies the words. */
export function packStep(
  shapes: readonly ChunkShape[],
  {
    blockSize,
    numBlocks,
    queryTile,
    splitLen = SOFTWARE_TUNING.splitLen,
    sampled = false,
    spans = [READS_ALL],
  }: PackOptions,
): PackedStep & { tables: number[][] } {
  const lengths = shapes.map(({ start, count }) => Math.ceil((start + count) / blockSize));
  const tables = scatteredTables(lengths, numBlocks);
  const numTokens = shapes.reduce((sum, { count }) => sum + count, 0);
  const chunks = shapes.map(({ start, count }, i): ScheduledChunk => ({
    sequenceId: i,
    tokens: Uint32Array.from({ length: count }, (_, j) => i * 31 + j),
    start,
    // Entries beyond the context are poison: nothing may read them.
    blockTables: spans.map((_, group) => {
      const table = group === spans.length - 1 ? tables[i]! : tables[i]!.toReversed();
      return [...table, 0xffffffff, 0xffffffff];
    }),
    ...(sampled
      ? { draw: { temperature: 0, topK: 0, topP: 1, minP: 0, seed: 0, outputIndex: 0 } }
      : {}),
  }));
  const packer = new StepPacker({
    maxTokens: numTokens,
    maxSeqs: shapes.length,
    maxBlocksPerSeq: Math.max(...lengths),
    blockSize,
    queryTile,
    splitLen,
    spans,
    maxSplits: lengths.reduce((sum, n) => sum + Math.ceil(n * blockSize / splitLen), 0),
  });
  const packed = packer.pack({ step: 0, chunks, numTokens });
  return { ...packed, words: packed.words.slice(), tables };
}
