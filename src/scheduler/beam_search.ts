import { invariant } from "../base/invariant.ts";
import type { TokenLogprob } from "../core/batch.ts";
import type { BeamSearchParams } from "../core/beam_search_params.ts";
import { numCandidates } from "../core/beam_search_params.ts";
import type { TokenId } from "../core/ids.ts";

/** The newest token of a hypothesis, linked to those before it, which other hypotheses share. */
export interface ScoredPath {
  readonly token: TokenId;
  readonly logprob: number;
  /** The candidates that the token was chosen from, best first. */
  readonly candidates: readonly TokenLogprob[];
  readonly previous: ScoredPath | undefined;
}

/** A possible answer that goes no further. */
export interface Hypothesis {
  readonly path: ScoredPath;
  readonly score: number;
  readonly finishReason: "stop" | "length";
}

/** A beam of the next step: one of the last step's, by its rank there, and one more token. */
export interface Continuation {
  readonly parent: number;
  readonly token: TokenId;
}

/** The parameters of a search, and its ends. */
export interface BeamSearchOptions extends BeamSearchParams {
  readonly stopTokenIds: readonly TokenId[];
  /** Most tokens of a hypothesis, at least 1. */
  readonly maxNumTokens: number;
}

/** One more token for a beam, with the log-probability of all its tokens. */
interface Candidate extends Continuation {
  readonly sum: number;
  readonly path: ScoredPath;
}

/** A beam: its tokens and the sum of their log-probabilities; `Beam` has its blocks. */
type ScoredBeam = Pick<Candidate, "sum"> & { readonly path: ScoredPath | undefined };

/**
 * Beam search over tokens: which continuations of a prompt are followed, and which is best.
 *
 * Of all candidates for the next token of all beams, the `width` likeliest that do not end are the
 * next beams. A candidate that ends (a stop token) becomes a hypothesis if it is among the `width`
 * likeliest of all, so that a search of width 1 is greedy decoding. There are never fewer than
 * `width` beams and hypotheses together. Hypotheses compete by score: the sum of their
 * log-probabilities, those of stop tokens included, over a power of their length, since each
 * further token lowers the sum (Wu et al. 2016, arXiv:1609.08144, section 7, here without its
 * constant and coverage).
 *
 * It knows nothing of blocks or steps. `advance` costs O(width^2 log width).
 */
export class BeamSearch {
  readonly #options: BeamSearchOptions;
  readonly #stopTokenIds: ReadonlySet<TokenId>;
  /** Likeliest first. */
  #beams: ScoredBeam[] = [{ sum: 0, path: undefined }];
  /** The best so far, at most `width`, best first. */
  #hypotheses: Hypothesis[] = [];
  #numTokens = 0;

  constructor(options: BeamSearchOptions) {
    this.#options = options;
    this.#stopTokenIds = new Set(options.stopTokenIds);
  }

  /** Whether there is nothing left to follow. */
  get isDone(): boolean {
    return this.#beams.length === 0;
  }

  /** Whether its next step can leave more than one beam, so that the others are forks. */
  get canFork(): boolean {
    return this.#options.width > 1 && this.#numTokens + 1 < this.#options.maxNumTokens;
  }

  /** The answers, best first; `width` of them once the search {@link isDone}. */
  get hypotheses(): readonly Hypothesis[] {
    return this.#hypotheses;
  }

  /**
   * Takes every beam one token further, or ends the search.
   *
   * @param candidates for each beam, in their order, its likeliest next tokens, best first.
   * @returns the beams from now on, likeliest first; none once the search is done. Among equals,
   * those of the likelier beam come first.
   */
  advance(candidates: readonly (readonly TokenLogprob[])[]): readonly Continuation[] {
    const { width, maxNumTokens } = this.#options;
    invariant(
      candidates.length === this.#beams.length,
      `candidates of ${candidates.length} beams, ${this.#beams.length} are followed`,
    );
    this.#numTokens++;
    const ranked = this.#rank(candidates);
    const isEnd = ({ token }: Candidate) => this.#stopTokenIds.has(token);
    ranked.slice(0, width).filter(isEnd).forEach((ended) => this.#finish(ended, "stop"));
    const next = ranked.filter((candidate) => !isEnd(candidate)).slice(0, width);
    const isDone = this.#isSettled(next);
    const isCut = !isDone && this.#numTokens === maxNumTokens;
    if (isCut) next.forEach((candidate) => this.#finish(candidate, "length"));
    this.#beams = isDone || isCut ? [] : next;
    return this.#beams.length === 0 ? [] : next;
  }

  /** All candidates, likeliest first. */
  #rank(candidates: readonly (readonly TokenLogprob[])[]): Candidate[] {
    const all = candidates.flatMap((own, parent) => {
      const { sum, path: previous } = this.#beams[parent]!;
      invariant(own.length > 0, `beam ${parent} has no candidates`);
      return own.slice(0, numCandidates(this.#options)).map(({ token, logprob }) => ({
        parent,
        token,
        sum: sum + logprob,
        path: { token, logprob, candidates: own, previous },
      }));
    });
    return all.sort((a, b) => descending(a.sum, b.sum));
  }

  #finish({ sum, path }: Candidate, finishReason: Hypothesis["finishReason"]): void {
    const score = this.#score(sum, this.#numTokens);
    this.#hypotheses.push({ path, score, finishReason });
    this.#hypotheses.sort((a, b) => descending(a.score, b.score));
    this.#hypotheses.length = Math.min(this.#hypotheses.length, this.#options.width);
  }

  /** Whether going on with these beams cannot change the answers any more, or shall not. */
  #isSettled(next: readonly Candidate[]): boolean {
    const { width, lengthPenalty, earlyStopping, maxNumTokens } = this.#options;
    if (next.length === 0) return true;
    if (this.#hypotheses.length < width) return false;
    if (earlyStopping) return true;
    // Sums only fall. Length helps a negative sum if it is penalized for, so the longest scores
    // best.
    const shortest = Math.min(this.#numTokens + 1, maxNumTokens);
    const bestLength = lengthPenalty > 0 ? maxNumTokens : shortest;
    return this.#score(next[0]!.sum, bestLength) <= this.#hypotheses.at(-1)!.score;
  }

  #score(sum: number, numTokens: number): number {
    return sum / numTokens ** this.#options.lengthPenalty;
  }
}

/** The tokens of a hypothesis, first to last. */
export function tokensOf({ path }: Pick<Hypothesis, "path">): ScoredPath[] {
  const tokens: ScoredPath[] = [];
  for (let at: ScoredPath | undefined = path; at !== undefined; at = at.previous) tokens.push(at);
  return tokens.reverse();
}

/** Orders numbers, infinities included, from the largest down. */
function descending(a: number, b: number): number {
  return a === b ? 0 : a > b ? -1 : 1;
}
