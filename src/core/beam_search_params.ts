/** A beam search over one prompt, in place of draws. */
export interface BeamSearchParams {
  /** Number of beams, and of answers; at least 1, which with `earlyStopping` is greedy decoding. */
  readonly width: number;
  /** A hypothesis of n tokens scores the sum of their log-probabilities over n to this power. */
  readonly lengthPenalty: number;
  /**
   * Whether the search ends with `width` finished hypotheses; otherwise it goes on while a running
   * one could still score better.
   */
  readonly earlyStopping: boolean;
}

/** Candidates per beam: `width` of them may end it, and as many may continue. */
export function numCandidates({ width }: BeamSearchParams): number {
  return 2 * width;
}
