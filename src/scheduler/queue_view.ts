import type { SequenceView } from "../core/engine_view.ts";
import type { Answer, Sequence } from "./sequence.ts";
import type { SequenceGroup } from "./sequence_group.ts";
import type { SequenceQueues } from "./sequence_queues.ts";

/** The unfinished sequences at a moment. */
export interface QueueView {
  readonly sequences: readonly SequenceView[];
  /** Those that are left out. */
  readonly numHidden: number;
}

/**
 * The sequences that run, in the order of their admission, then those that wait; at most `limit` of
 * them. O(limit + groups that wait).
 */
export function viewQueues(queues: SequenceQueues, limit: number): QueueView {
  const sequences: SequenceView[] = [];
  let numHidden = 0;
  for (const group of [...queues.running, ...queues.waiting]) {
    for (const member of group.members) {
      if (sequences.length < limit) sequences.push(viewOf(group, member));
      else numHidden++;
    }
  }
  return { sequences, numHidden };
}

function viewOf(group: SequenceGroup, member: Sequence): SequenceView {
  const { id, requestId, index, numPromptTokens, numTokens, numComputedTokens } = member;
  const answer: Answer | undefined = group.answers.find((each) => each.index === index);
  return {
    id,
    requestId,
    index,
    state: group.state === "running" ? "running" : "waiting",
    numPromptTokens,
    numTokens,
    numComputedTokens,
    numCachedTokens: answer?.numCachedTokens ?? 0,
    numPreemptions: group.numPreemptions,
  };
}
