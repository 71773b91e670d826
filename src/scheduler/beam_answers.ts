import type { BeamGroup } from "./beam_group.ts";
import { tokensOf } from "./beam_search.ts";
import type { Report } from "./event_buffer.ts";
import type { Answer } from "./sequence.ts";

/** The events of a search that is done: all tokens of each answer, the best answer first. */
export function answerEvents(
  group: BeamGroup,
): { readonly answer: Answer; readonly report: Report }[] {
  const { numLogprobs } = group.params;
  return group.answers.flatMap((answer, rank) => {
    const hypothesis = group.hypotheses[rank]!;
    const tokens = tokensOf(hypothesis);
    return tokens.map(({ token, logprob, candidates }, i) => {
      const scores = numLogprobs === undefined
        ? {}
        : { logprob, topLogprobs: candidates.slice(0, numLogprobs) };
      const end = i + 1 < tokens.length ? {} : { finishReason: hypothesis.finishReason };
      return { answer, report: { token, ...scores, ...end } };
    });
  });
}
