import { answerParts } from "./answer_stream.ts";
import { type Api, ApiError } from "./api.ts";
import { type Conversation, type Message, pathOf } from "./conversation.ts";
import { isContinuable, requestBody } from "./request_body.ts";

/** An answer to be asked for, or to be continued. */
export interface AnswerRun {
  readonly conversation: Conversation;
  /** The answer, with what there is of it. */
  readonly message: Message;
  readonly signal: AbortSignal;
  /** Takes what has changed of the answer. */
  readonly onChange: (change: Partial<Message>) => void;
}

/** How asking has ended; the answer waits again where a `key` lacks, or it was too `early`. */
export type RunEnd = "settled" | "key" | "early";

/** Asks for an answer, or for the rest of one, and tells what comes of it. Never throws. */
export async function runAnswer(api: Api, run: AnswerRun): Promise<RunEnd> {
  const { conversation, message, signal, onChange } = run;
  const path = pathOf({ ...conversation, head: message.id });
  const goesOn = isContinuable(message, conversation.settings);
  let { content, reasoning = "" } = goesOn ? message : { content: "" };
  const before = goesOn ? message.figures?.answerTokens ?? 0 : 0;
  onChange({ content, reasoning, status: "streaming", error: "" });
  try {
    const body = requestBody(goesOn ? path : path.slice(0, -1), conversation.settings);
    const earlierTokens = goesOn ? undefined : tokensOf(path.slice(0, -1));
    for await (const part of answerParts(api, body, { earlierTokens, signal })) {
      content += part.content;
      reasoning += part.reasoning;
      const answerTokens = part.figures.answerTokens + before;
      onChange({ content, reasoning, figures: { ...part.figures, answerTokens } });
    }
    onChange({ status: "done" });
    return "settled";
  } catch (error) {
    const { end, change } = endingOf(error, signal.aborted, content !== "");
    onChange(change);
    return end;
  }
}

/** How an answer that an error has ended is. */
function endingOf(
  error: unknown,
  isAborted: boolean,
  hasText: boolean,
): { end: RunEnd; change: Partial<Message> } {
  if (isAborted) return { end: "settled", change: { status: "stopped" } };
  if (error instanceof ApiError && error.status === 401) {
    return { end: "key", change: { status: "waiting" } };
  }
  if (error instanceof ApiError && error.code === "engine_unavailable" && !hasText) {
    return { end: "early", change: { status: "waiting" } };
  }
  const words = error instanceof Error ? error.message : String(error);
  return { end: "settled", change: { status: hasText ? "cut" : "failed", error: words } };
}

/** Tokens of a conversation at the end of its last answer, where the server has told. */
function tokensOf(path: readonly Message[]): number | undefined {
  const figures = path.findLast(({ role }) => role === "assistant")?.figures;
  if (figures?.promptTokens === undefined) return undefined;
  return figures.promptTokens + figures.answerTokens;
}
