import type { TokenLogprob } from "../../src/core/batch.ts";
import type { BeamSearchParams } from "../../src/core/beam_search_params.ts";

/** The likeliest next tokens after all of `tokens`, best first. */
export type Model = (tokens: readonly number[], count: number) => readonly TokenLogprob[];

/** A beam or an answer of the reference: its outputs, and the sum of their log-probabilities. */
export interface ReferenceBeam {
  readonly outputs: readonly number[];
  readonly sum: number;
}

export interface ReferenceAnswer extends ReferenceBeam {
  readonly score: number;
  readonly finishReason: "stop" | "length";
}

/** What a reference search is asked for. */
export interface ReferenceQuery extends BeamSearchParams {
  readonly prompt: readonly number[];
  readonly stopTokenIds: readonly number[];
  /** Most tokens of an answer. */
  readonly maxNumTokens: number;
}

/**
 * Beam search as simply as can be: whole lists of tokens, every candidate scored and sorted, and
 * without early stopping every step is made and every hypothesis kept to the end.
 *
 * @returns the answers, best first, and the beams that each step computed, after the first.
 */
export function searchAlone(model: Model, query: ReferenceQuery) {
  const { prompt, width, lengthPenalty, stopTokenIds, maxNumTokens } = query;
  const ended: ReferenceAnswer[] = [];
  const steps: ReferenceBeam[][] = [];
  let beams: ReferenceBeam[] = [{ outputs: [], sum: 0 }];
  for (let numTokens = 1; numTokens <= maxNumTokens && beams.length > 0; numTokens++) {
    const all: ReferenceBeam[] = [];
    for (const { outputs, sum } of beams) {
      for (const { token, logprob } of model([...prompt, ...outputs], 2 * width)) {
        all.push({ outputs: [...outputs, token], sum: sum + logprob });
      }
    }
    all.sort((a, b) => b.sum - a.sum);
    beams = [];
    all.forEach((candidate, rank) => {
      const score = candidate.sum / numTokens ** lengthPenalty;
      const isEnd = stopTokenIds.includes(candidate.outputs.at(-1)!);
      if (isEnd && rank < width) ended.push({ ...candidate, score, finishReason: "stop" });
      if (!isEnd && beams.length < width) beams.push(candidate);
    });
    if (query.earlyStopping && ended.length >= width) break;
    if (numTokens < maxNumTokens) steps.push(beams);
    else {
      for (const beam of beams) {
        const score = beam.sum / numTokens ** lengthPenalty;
        ended.push({ ...beam, score, finishReason: "length" });
      }
    }
  }
  ended.sort((a, b) => b.score - a.score);
  return { answers: ended.slice(0, width), steps };
}
