/**
 * How far the recomputation of remembered prefixes is after a start. Tokens are those of whole
 * prefixes; what they share counts in each.
 */
export interface ReheatProgress {
  readonly numPrefixesDone: number;
  readonly numPrefixesLeft: number;
  readonly numTokensDone: number;
  readonly numTokensLeft: number;
}
