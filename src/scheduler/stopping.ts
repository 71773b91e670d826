import type { FinishReason } from "../core/token_event.ts";
import type { Sequence } from "./sequence.ts";

/**
 * Why `sequence` ends with the token it has just been given, or undefined when it goes on.
 *
 * A stop token wins over a limit reached by the same token: the model had finished. Stop strings
 * are not known here: HTTP finds them in the text, and aborts the sequence. `maxModelLen` is the
 * most tokens of one sequence, prompt and output.
 */
export function finishReason(
  sequence: Sequence,
  newestToken: number,
  maxModelLen: number,
): FinishReason | undefined {
  const { stopTokenIds, maxTokens } = sequence.params;
  if (stopTokenIds.includes(newestToken)) return "stop";
  if (sequence.numOutputTokens >= maxTokens) return "length";
  if (sequence.numTokens >= maxModelLen) return "length";
  return undefined;
}
