/** How the answers of one prompt are searched for instead of drawn. */
export interface BeamSearchParams {
  /**
   * Beams followed at once, and answers; at least 1, which is greedy decoding while
   * `earlyStopping`.
   */
  readonly width: number;
  /** A hypothesis of n tokens scores the sum of their log-probabilities over n to this power. */
  readonly lengthPenalty: number;
  /**
   * Whether `width` finished hypotheses end the search; else all must be out of reach of the rest.
   */
  readonly earlyStopping: boolean;
}

/** Candidates taken of each beam: enough for all its continuations when `width` of them end it. */
export function numCandidates({ width }: BeamSearchParams): number {
  return 2 * width;
}
