/** Why a prompt found less in the prefix cache than it could have, each with words for people. */
export const MISS_CAUSES = {
  clock: "a date or a time differs",
  system_prompt: "the system prompt differs",
  tool_order: "the tools, or fields of one, are in another order",
  tool_schema: "the tools differ",
  message_edited: "an earlier message was edited",
  message_inserted: "a message was put before earlier ones",
  messages_dropped: "earlier messages were left out",
  thinking_stripped: "the thoughts of an earlier turn are no longer there",
  answer_changed: "an earlier answer came back with another text",
  answer_reencoded: "an earlier answer came back with the same text, which is other tokens now",
  template: "the chat template writes the earlier turns differently",
  cache_scope: "the earlier prompt was sent with another cache_salt",
  evicted: "its blocks were evicted",
  cache_reset: "the cache was emptied",
  not_kept: "the model's layers keep no state or window at that length",
  not_computed: "the earlier prompt's blocks were not there yet, or no longer",
  prompt_read: "the request reads its whole prompt, so all of it is computed",
  too_short: "what is shared fills no block",
  new_conversation: "no earlier prompt of this key and cache_salt goes on like it",
  cache_off: "the prefix cache is off",
} as const satisfies Readonly<Record<string, string>>;

/** Why a prompt found less in the prefix cache than it could have. */
export type MissCause = keyof typeof MISS_CAUSES;

/** The part of a request that some tokens of its prompt come from. */
export interface PromptPart {
  /** Index of the message and its role; absent for what belongs to no message. */
  readonly message?: number;
  readonly role?: string;
  /** Such as `content`, `tools.1.function.description`, `chat_template` or `prompt`. */
  readonly field: string;
}

/** Where a prompt parts from the earlier one of its conversation. */
export interface Divergence {
  /** The first token that differs, from 0. */
  readonly position: number;
  /** Absent where no part of the request is known to have changed. */
  readonly part?: PromptPart;
  /** Text right before that token, of both. */
  readonly before: string;
  /** Text from that token on, of the earlier prompt or its answer, and of this prompt. */
  readonly old: string;
  readonly new: string;
}

/** What was evicted right behind the part of a prompt that was found. */
export interface EvictedPrefix {
  readonly numTokens: number;
  /** Milliseconds since its first block was evicted. */
  readonly agoMs: number;
}

/** What a prompt found in the prefix cache, and why not more. Lengths are tokens. */
export interface MissReport {
  readonly numPromptTokens: number;
  readonly numCachedTokens: number;
  /** As much as the earlier prompt of its conversation, with its answer, had left to be found. */
  readonly numExpectedTokens: number;
  /** Absent where it found all of it. */
  readonly cause?: MissCause;
  readonly divergence?: Divergence;
  readonly evicted?: EvictedPrefix;
}

/** The report as one sentence for people; it repeats no text of a prompt. */
export function describeMiss(report: MissReport): string {
  const { numPromptTokens, numCachedTokens, numExpectedTokens, cause } = report;
  const found = `${numCachedTokens} of ${numPromptTokens} tokens were found`;
  if (cause === undefined) return `${found}, as many as could be`;
  const expected = numExpectedTokens > numCachedTokens
    ? `, ${numExpectedTokens} were there of the earlier prompt`
    : "";
  return `${found}${expected}: ${MISS_CAUSES[cause]}${describeWhere(report)}`;
}

function describeWhere({ divergence, evicted }: MissReport): string {
  if (divergence === undefined) {
    return evicted === undefined ? "" : ` ${(evicted.agoMs / 1000).toFixed(1)} s ago`;
  }
  const { position, part } = divergence;
  const field = part?.message === undefined
    ? part?.field
    : `messages.${part.message}.${part.field}`;
  return ` at token ${position}${field === undefined ? "" : `, in ${field}`}`;
}
