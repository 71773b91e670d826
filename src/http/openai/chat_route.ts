import type { Handler } from "hono";
import { answer } from "../answer/answer.ts";
import { type Chat, chatJob } from "../chat/chat_job.ts";
import {
  ChatRequest,
  numChatLogprobs,
  toChatMessages,
  toEncodeChatOptions,
} from "./chat_schema.ts";
import { GenerationMeter } from "../metrics/generation_meter.ts";
import { outputConstraintOf } from "../fields/grammar_fields.ts";
import { maxTokensOf } from "../fields/length_fields.ts";
import { withPromptLogprobs } from "../prompt/prompt_readings.ts";
import { readJson } from "../body/read_json.ts";
import { checkStreamOptions, promptLogprobsOf } from "../fields/sampling_fields.ts";
import { servedName } from "../served_model.ts";
import type { ServedModel, Services } from "../services.ts";
import { templateVariablesOf } from "../fields/thinking_fields.ts";
import { toolUseOf } from "../fields/tool_fields.ts";
import { UNSUPPORTED_IN_CHAT } from "../fields/unsupported_fields.ts";

/**
 * `POST /v1/chat/completions`. The content of a message is text, even where it spells a control
 * token such as `<|im_end|>`: only the model's chat template writes control tokens.
 */
export function chatRoute(services: Services): Handler {
  const { metrics, now } = services;
  return async (c) => {
    const meter = new GenerationMeter(metrics, now);
    const request = await readJson(c, ChatRequest, UNSUPPORTED_IN_CHAT);
    const model = servedName(request.model, services.model);
    const chat = toChat(request, services.model);
    const job = await chatJob(chat, services, { model, meter });
    const listed = promptLogprobsOf(request);
    const read = listed === undefined ? job : withPromptLogprobs(job, services.text, listed);
    return await answer(c, services, read);
  };
}

/** @throws {RequestError} for fields that contradict each other. */
function toChat(request: ChatRequest, model: ServedModel): Chat {
  checkStreamOptions(request);
  const numLogprobs = numChatLogprobs(request);
  const messages = toChatMessages(request.messages, model);
  return {
    fields: request,
    messages,
    closing: toEncodeChatOptions(request, messages),
    use: toolUseOf(request),
    variables: templateVariablesOf(request, model),
    constraint: outputConstraintOf(request),
    maxTokens: maxTokensOf(request),
    numLogprobs,
    source: "messages",
  };
}
