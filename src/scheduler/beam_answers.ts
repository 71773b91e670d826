import { type Hypothesis, tokensOf } from "./beam_search.ts";
import type { Report } from "./event_buffer.ts";

/** What each answer of a search that is done reports, all its tokens, the best answer first. */
export function answerReports(
  hypotheses: readonly Hypothesis[],
  numLogprobs: number | undefined,
): Report[][] {
  return hypotheses.map((hypothesis) => {
    const tokens = tokensOf(hypothesis);
    return tokens.map(({ token, logprob, candidates }, i) => {
      const scores = numLogprobs === undefined
        ? {}
        : { logprob, topLogprobs: candidates.slice(0, numLogprobs) };
      const end = i + 1 < tokens.length ? {} : { finishReason: hypothesis.finishReason };
      return { token, ...scores, ...end };
    });
  });
}
