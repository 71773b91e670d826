import type { Chat, ChatPrompt } from "../chat/chat_job.ts";
import { toChatMessages } from "../openai/chat_schema.ts";
import { extrasOf } from "../fields/extra_fields.ts";
import { type OutputConstraint, schemaConstraint } from "../fields/grammar_fields.ts";
import { invalid, noText, unsupported } from "../refusals.ts";
import { requireReady } from "../served_model.ts";
import type { ServedModel, Services } from "../services.ts";
import { type TemplateVariables, templateVariablesOf } from "../fields/thinking_fields.ts";
import { toolUseOf } from "../fields/tool_fields.ts";
import type {
  OllamaChatRequest,
  OllamaCommon,
  OllamaGenerateRequest,
  OllamaMessage,
  OllamaOptions,
} from "./ollama_schema.ts";

/**
 * A request of `/api/chat` as a chat.
 *
 * @throws {RequestError} naming what is not supported here, or by the model.
 */
export function chatOf(request: OllamaChatRequest, services: Services): Chat {
  const tools = request.tools ?? [];
  if (tools.length > 0 && services.tools.notation === undefined) {
    throw unsupported("tools", `${request.model} does not support tools: its template has none`);
  }
  return {
    ...parametersOf(request, services),
    messages: toChatMessages(
      (request.messages ?? []).map((message, at) => toMessage(message, at, services.model)),
      services.model,
    ),
    use: toolUseOf({ tools }),
    source: "messages",
  };
}

/** A request of `/api/generate` as a chat of one message, or of two with `system`. */
export function generateChatOf(request: OllamaGenerateRequest, services: Services): Chat {
  const { system, prompt } = request;
  const isThere = system !== undefined && system !== null && system !== "";
  return {
    ...parametersOf(request, services),
    messages: [
      ...(isThere ? [{ role: "system", content: system } as const] : []),
      { role: "user", content: prompt ?? "" },
    ],
    use: undefined,
    source: "prompt",
  };
}

/** All of a chat but its conversation. */
export function parametersOf(
  request: OllamaCommon,
  services: Services,
): Omit<Chat, keyof ChatPrompt> & Pick<ChatPrompt, "variables"> {
  const options = request.options ?? {};
  checkContext(options, services.engine);
  const fields = { ...extrasOf(request), ...samplingOf(options), stream: request.stream ?? true };
  return {
    fields,
    variables: variablesOf(request, services.model),
    constraint: constraintOf(request, fields),
    maxTokens: (options.num_predict ?? 0) > 0 ? options.num_predict : undefined,
    isCutToContext: true,
    numLogprobs: request.logprobs === true ? request.top_logprobs ?? 0 : undefined,
  };
}

/**
 * Ollama cuts prompts to `num_ctx`; here no context is smaller than what is asked for.
 *
 * @throws {RequestError} with the model's context.
 */
export function checkContext(
  options: OllamaOptions | null | undefined,
  engine: Services["engine"],
): void {
  const { maxModelLen } = requireReady(engine);
  const numContextTokens = options?.num_ctx;
  if (numContextTokens === undefined || numContextTokens === null) return;
  if (numContextTokens <= maxModelLen) return;
  throw invalid(
    "options.num_ctx",
    `options.num_ctx must be at most ${maxModelLen}, the model's context here, got ${numContextTokens}`,
  );
}

function samplingOf(options: OllamaOptions) {
  const { temperature, top_p, top_k, min_p, seed, stop } = options;
  const { presence_penalty, frequency_penalty } = options;
  const penalty = options.repeat_penalty ?? undefined;
  const span = options.repeat_last_n ?? -1;
  if (span > 0 && penalty !== undefined && penalty !== 1) {
    throw unsupported(
      "options.repeat_last_n",
      "options.repeat_last_n must be -1 (the whole sequence) or 0 (no penalty) beside " +
        `options.repeat_penalty, got ${span}`,
    );
  }
  return Object.fromEntries(
    Object.entries({
      temperature,
      top_p,
      top_k,
      min_p,
      seed,
      stop,
      presence_penalty,
      frequency_penalty,
      repetition_penalty: span === 0 ? undefined : penalty,
    }).filter(([, value]) => value !== undefined && value !== null),
  );
}

function constraintOf(
  { format }: OllamaCommon,
  fields: Readonly<Record<string, unknown>>,
): OutputConstraint | undefined {
  if (format === undefined || format === null || format === "") return undefined;
  return schemaConstraint(format === "json" ? undefined : format, "format", fields);
}

/** `think` as the variables that the model's template reads. */
function variablesOf(request: OllamaCommon, model: ServedModel): TemplateVariables {
  const { think, chat_template_kwargs } = request;
  const given = templateVariablesOf({ chat_template_kwargs }, model);
  if (think === undefined || think === null) return given;
  if (think !== false && model.thinking === undefined) {
    throw unsupported("think", `${request.model} does not support thinking`);
  }
  // A model that thinks without being asked needs no variable for it.
  const isAlways = think === true && (model.templateVariables ?? []).length === 0;
  if (isAlways) return given;
  const reasoning_effort = think === true ? "medium" : think === false ? "none" : think;
  return { ...templateVariablesOf({ reasoning_effort }, model, "think"), ...given };
}

/** A message as `/v1/chat/completions` has it. */
function toMessage(message: OllamaMessage, at: number, model: ServedModel) {
  const { role, content, thinking, images, tool_calls, tool_name, tool_call_id } = message;
  if ((images ?? []).length > 0) {
    throw noText(`messages.${at}.images`, "image", model);
  }
  if (role !== "assistant" && (tool_calls ?? []).length > 0) {
    throw invalid(`messages.${at}.tool_calls`, `messages.${at}.tool_calls is the assistant's`);
  }
  return {
    role,
    content: content ?? "",
    reasoning_content: thinking,
    tool_calls: tool_calls?.map(({ id, function: called }) => ({ id, function: called })),
    tool_call_id,
    name: tool_name,
  };
}
