import type { OriginMessage, PromptOrigin } from "../core/prompt_origin.ts";
import { differByClock } from "./clock_text.ts";
import type { TextOf } from "./divergence.ts";
import { isSameJson, originDifferences } from "./origin_difference.ts";
import type { PromptRecord } from "./prompt_record.ts";

/** System prompts of which this share is the same are of one program. */
const MIN_SHARED = 0.5;
/** Characters at each end of two texts that are compared, at most. */
const MAX_COMPARED = 8192;
/** Last tokens of an answer by which it is recognised, the one that ends it not counted. */
const NUM_ANSWER_TOKENS = 12;
/** Fewest characters that these have to be. */
const MIN_ANSWER_CHARS = 8;

/**
 * Whether two requests seem to come from one program that has changed its system prompt or its
 * tools in between: one of them differs, and in that not all of it.
 */
export function isSameProgram(old: PromptOrigin, now: PromptOrigin): boolean {
  const [before, after] = [systemOf(old), systemOf(now)];
  const isSameSystem = before === after;
  if (!isSameSystem && !isSimilar(before, after)) return false;
  const isSameTools = !originDifferences(old, now).some(({ part }) =>
    part.field.startsWith("tools.")
  );
  if (isSameSystem && isSameTools) return false;
  const { tools = [] } = old;
  return isSameTools || (isSameSystem && before !== "") ||
    tools.some((tool) => now.tools?.some((other) => isSameJson(tool, other)));
}

/** Whether a conversation goes on from an answer to an earlier prompt, by the answer's end. */
export function isAnsweredBy(
  { origin: old, answers }: PromptRecord,
  { messages }: PromptOrigin,
  textOf: TextOf,
): boolean {
  if (old === undefined) return false;
  const repeated: OriginMessage | undefined = messages[old.messages.length];
  if (repeated?.role !== "assistant") return false;
  return answers.some((answer) => {
    const text = textOf(answer.subarray(-1 - NUM_ANSWER_TOKENS, -1)).trim();
    return text.length >= MIN_ANSWER_CHARS && repeated.content.includes(text);
  });
}

function systemOf({ messages }: PromptOrigin): string {
  const [first] = messages;
  return first?.role === "system" ? first.content : "";
}

/** Whether two texts differ by a date or time, or are the same for the most part. */
function isSimilar(a: string, b: string): boolean {
  if (a === "" || b === "") return false;
  const shorter = Math.min(a.length, b.length);
  const most = Math.min(shorter, MAX_COMPARED);
  let start = 0;
  while (start < most && a[start] === b[start]) start++;
  let end = 0;
  while (end < Math.min(most, shorter - start) && a.at(-1 - end) === b.at(-1 - end)) end++;
  const compared = Math.min(Math.max(a.length, b.length), 2 * MAX_COMPARED);
  return (start + end) / compared >= MIN_SHARED || differByClock(a, b);
}
