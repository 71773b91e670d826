import { z } from "zod";
import { MAX_LOGPROBS } from "../../core/sampling_params.ts";
import { boundedArray } from "../body/bounded_array.ts";
import { MaxTokens } from "../fields/length_fields.ts";
import { invalid, noText, required, unsupported } from "../refusals.ts";
import { SAMPLING_FIELDS } from "../fields/sampling_fields.ts";
import type { ServedModel } from "../services.ts";
import type { ChatMessage, ChatToolCall, EncodeChatOptions } from "../text_port.ts";
import { THINKING_FIELDS } from "../fields/thinking_fields.ts";
import { TOOL_FIELDS } from "../fields/tool_fields.ts";

/** Most messages of a conversation, over which a chat template loops. */
const MAX_MESSAGES = 4096;
const MAX_PARTS = 1024;

const Part = z.looseObject({ type: z.string(), text: z.string().nullish() });
const ToolCall = z.looseObject({
  id: z.string().nullish(),
  type: z.literal("function").nullish(),
  function: z.looseObject({ name: z.string(), arguments: z.unknown().optional() }),
});
const Message = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content: z.union([z.string(), boundedArray(Part, { max: MAX_PARTS })]).nullish(),
  tool_calls: boundedArray(ToolCall, { max: MAX_PARTS }).nullish(),
  tool_call_id: z.string().nullish(),
  name: z.string().nullish(),
  reasoning_content: z.string().nullish(),
  reasoning: z.unknown().optional(),
  function_call: z.unknown().optional(),
});

/** The messages of a conversation, as both `/v1/chat/completions` and `/tokenize` take them. */
export const Messages = boundedArray(Message, { min: 1, max: MAX_MESSAGES });

/** Body of `POST /v1/chat/completions`; fields not named here are accepted and ignored. */
export const ChatRequest = z.looseObject({
  ...SAMPLING_FIELDS,
  ...TOOL_FIELDS,
  ...THINKING_FIELDS,
  messages: Messages,
  max_completion_tokens: MaxTokens,
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(MAX_LOGPROBS).nullish(),
  add_generation_prompt: z.boolean().nullish(),
  continue_final_message: z.boolean().nullish(),
});
export type ChatRequest = z.output<typeof ChatRequest>;

/**
 * The conversation as the chat template reads it.
 *
 * @param model as clients know it, for refusals.
 * @throws {RequestError} on content other than text, on calls that are not the assistant's, and on
 * arguments that are no JSON.
 */
export function toChatMessages(
  messages: z.output<typeof Messages>,
  model: Pick<ServedModel, "names">,
): ChatMessage[] {
  return messages.map((message, i) => {
    const { role, content, tool_call_id, name } = message;
    if (role === "function") {
      const message = `Messages of the role ${role} are not supported by this server`;
      throw unsupported(`messages.${i}.role`, message);
    }
    if (message.function_call !== undefined && message.function_call !== null) {
      const message = "Function calls are not supported by this server";
      throw unsupported(`messages.${i}.function_call`, message);
    }
    if (role !== "assistant") required(content, `messages.${i}.content`);
    const calls = toToolCalls(message, i);
    const thought = message.reasoning_content ?? message.reasoning;
    return {
      role: role === "developer" ? "system" : role,
      content: typeof content === "string" ? content : joinParts(content ?? [], i, model),
      ...(calls.length === 0 ? {} : { tool_calls: calls }),
      ...(role === "assistant" && typeof thought === "string" && thought !== ""
        ? { reasoning_content: thought }
        : {}),
      ...(role === "tool" && typeof tool_call_id === "string" ? { tool_call_id } : {}),
      ...(role === "tool" && typeof name === "string" ? { name } : {}),
    };
  });
}

/** Templates take arguments as values, since they write them in notations of their own. */
function toToolCalls({ role, tool_calls }: z.output<typeof Message>, at: number): ChatToolCall[] {
  const calls = tool_calls ?? [];
  if (calls.length > 0 && role !== "assistant") {
    throw invalid(
      `messages.${at}.tool_calls`,
      `messages.${at}.tool_calls belongs to the assistant, got role ${role}`,
    );
  }
  return calls.map(({ id, function: { name, arguments: given } }, i) => {
    const param = `messages.${at}.tool_calls.${i}.function.arguments`;
    const read = typeof given === "string" ? parseArguments(given, param) : given ?? {};
    return { id: id ?? "", type: "function", function: { name, arguments: read } };
  });
}

/**
 * The arguments of a call as a value; none where the text is empty.
 *
 * @throws {RequestError} for a text that is no JSON.
 */
export function parseArguments(text: string, param: string): unknown {
  try {
    return text.trim() === "" ? {} : JSON.parse(text);
  } catch {
    throw invalid(param, `${param} must be a text of JSON`);
  }
}

/** Joins text parts as lines, as vLLM does for templates that take a string. */
function joinParts(
  parts: readonly z.output<typeof Part>[],
  messageIndex: number,
  model: Pick<ServedModel, "names">,
): string {
  return parts.map(({ type, text }, i) => {
    const path = `messages.${messageIndex}.content.${i}`;
    if (type !== "text") {
      throw noText(`${path}.type`, type, model);
    }
    return required(text, `${path}.text`);
  }).join("\n");
}

/**
 * How the template closes the conversation.
 *
 * @throws {RequestError} when the last message is to be continued and closed at once, or is to be
 * continued and is not the assistant's.
 */
export function toEncodeChatOptions(
  request: Pick<ChatRequest, "add_generation_prompt" | "continue_final_message">,
  messages: readonly ChatMessage[],
): EncodeChatOptions {
  const continueFinalMessage = request.continue_final_message ?? false;
  const addGenerationPrompt = request.add_generation_prompt ?? !continueFinalMessage;
  if (!continueFinalMessage) return { addGenerationPrompt, continueFinalMessage };
  const param = "continue_final_message";
  if (addGenerationPrompt) {
    throw invalid(param, "continue_final_message and add_generation_prompt cannot both be true");
  }
  if (messages.at(-1)?.role !== "assistant") {
    throw invalid(param, "continue_final_message needs the last message to be the assistant's");
  }
  return { addGenerationPrompt, continueFinalMessage };
}

/**
 * How many log-probabilities to report beside the chosen token's; undefined for none at all.
 *
 * @throws {RequestError} when `top_logprobs` comes without `logprobs`.
 */
export function numChatLogprobs({ logprobs, top_logprobs }: ChatRequest): number | undefined {
  if (logprobs === true) return top_logprobs ?? 0;
  if ((top_logprobs ?? 0) === 0) return undefined;
  throw invalid("top_logprobs", "top_logprobs is only allowed with logprobs set to true");
}
