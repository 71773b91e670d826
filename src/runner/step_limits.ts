import { READS_ALL, type ReadSpan } from "../core/read_span.ts";

/** The largest step the buffers are made for. */
export interface StepLimits {
  /** Most rows. */
  readonly maxTokens: number;
  /** Most chunks. */
  readonly maxSeqs: number;
  /** Most blocks of one sequence. */
  readonly maxBlocksPerSeq: number;
  readonly blockSize: number;
  /** Rows per prefill tile. */
  readonly queryTile: number;
  /** Positions per split of a decode's context. */
  readonly splitLen: number;
  /**
   * Most splits of all decodes together in any cache group; at least those of the longest sequence.
   */
  readonly maxSplits: number;
  /** What queries read in each cache group, in the groups' order; default: all, in one group. */
  readonly spans?: readonly ReadSpan[];
  /** Rows of position tables before those for long contexts; absent where there are none. */
  readonly shortContextLen?: number;
}

/** What queries read in each cache group. */
export function spansOf({ spans = [READS_ALL] }: Pick<StepLimits, "spans">): readonly ReadSpan[] {
  return spans;
}
