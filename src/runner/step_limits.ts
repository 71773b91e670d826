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
  /** Most splits of all decodes together; at least those of the longest sequence. */
  readonly maxSplits: number;
}
