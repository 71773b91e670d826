import { RequestError } from "../../core/errors.ts";
import type { ChatMessage } from "../text_port.ts";

/**
 * The conversation with its later system messages said by the user, where they come: what is before
 * them stays a prefix of the prompt, as it would not if they were moved to the front. Messages of
 * the user that follow each other are one, for templates that take turns.
 *
 * @returns undefined where there is none but at the front.
 */
export function withoutLateSystem(messages: readonly ChatMessage[]): ChatMessage[] | undefined {
  const first = messages.findIndex(({ role }) => role !== "system");
  if (first === -1 || messages.slice(first).every(({ role }) => role !== "system")) {
    return undefined;
  }
  const folded = messages.slice(0, first);
  for (const { role, content, ...more } of messages.slice(first)) {
    const last = folded.at(-1);
    const speaker = role === "system" ? "user" : role;
    if (speaker === "user" && last?.role === "user") {
      folded[folded.length - 1] = { role: "user", content: `${last.content}\n\n${content}` };
    } else folded.push({ role: speaker, content, ...more });
  }
  return folded;
}

/** Whether the model's chat template has refused a conversation by its own words. */
export function isRaisedByTemplate(error: unknown): boolean {
  return error instanceof RequestError && error.data.code === "chat_template_raised";
}
