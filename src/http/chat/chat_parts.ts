import type { Choice } from "../answer/choice_writer.ts";

/** A part of a chat's answer, in the order in which the model says it. */
export type ChatPart =
  | { readonly type: "thought"; readonly text: string }
  | { readonly type: "text"; readonly text: string }
  /** `arguments` is JSON, but for a call that `max_tokens` has cut off. */
  | {
    readonly type: "call";
    readonly id: string;
    readonly name: string;
    readonly arguments: string;
  }
  | {
    readonly type: "end";
    readonly reason: string;
    readonly stopReason: string | number | null;
  };

/** What of a choice this file reads; `chatChoices` and the writers around it write it. */
interface ChatChoice {
  readonly message?: ChatDelta;
  readonly delta?: ChatDelta;
  readonly finish_reason: string | null;
  readonly stop_reason?: string | number | null;
}

interface ChatDelta {
  readonly content?: string | null;
  readonly reasoning_content?: string;
  readonly tool_calls?: readonly {
    readonly id?: string;
    readonly function: { readonly name?: string; readonly arguments: string };
  }[];
}

/**
 * Reads the choices of one chat's answer as the parts that other APIs are written in. A whole
 * choice gives its text before its calls, since a chat's message does not say what came first.
 */
export class ChatPartReader {
  /** A call whose id and name have come, and whose arguments follow. */
  #openCall: { readonly id: string; readonly name: string } | undefined;

  read(choice: Choice): readonly ChatPart[] {
    const { message, delta, finish_reason: reason, stop_reason } = choice as unknown as ChatChoice;
    const { reasoning_content: thought, content, tool_calls } = message ?? delta ?? {};
    const parts: ChatPart[] = [];
    if (thought !== undefined && thought !== "") parts.push({ type: "thought", text: thought });
    if (typeof content === "string" && content !== "") parts.push({ type: "text", text: content });
    for (const { id, function: { name, arguments: given } } of tool_calls ?? []) {
      if (id !== undefined && name !== undefined) this.#openCall = { id, name };
      // In a stream, the delta with the id comes before the one with the arguments.
      if (id !== undefined && message === undefined) continue;
      parts.push({ type: "call", ...this.#openCall!, arguments: given });
    }
    if (reason !== null) parts.push({ type: "end", reason, stopReason: stop_reason ?? null });
    return parts;
  }
}
