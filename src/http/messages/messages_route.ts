import type { Context, Handler } from "hono";
import { answer } from "../answer/answer.ts";
import { chatJob, encodeChat } from "../chat/chat_job.ts";
import { GenerationMeter } from "../metrics/generation_meter.ts";
import { IGNORED_FIELDS_HEADER } from "../fields/ignored_fields.ts";
import { readJson } from "../body/read_json.ts";
import { invalid, quoted } from "../refusals.ts";
import { servedName } from "../served_model.ts";
import type { Services } from "../services.ts";
import { messagesWriter } from "./message_events.ts";
import { ignoredFields, toChat, toPrompt } from "./messages_chat.ts";
import { CountTokensRequest, MessagesRequest, UNSUPPORTED_IN_MESSAGES } from "./messages_schema.ts";

/**
 * Versions of Anthropic's API that have these shapes. The later one takes no `temperature`, `top_p`
 * and `top_k`; here they act in both, as this server's own fields.
 */
const VERSIONS = ["2023-06-01", "2026-10-21"];

/** `POST /v1/messages`: Anthropic's Messages API. */
export function messagesRoute(services: Services): Handler {
  const { metrics, now } = services;
  return async (c) => {
    const meter = new GenerationMeter(metrics, now);
    checkVersion(c);
    const request = await readJson(c, MessagesRequest, UNSUPPORTED_IN_MESSAGES);
    const model = servedName(request.model, services.model);
    tellIgnored(c, ignoredFields(request, services.model));
    const chat = toChat(request, services.model);
    const { choiceWriter, ...job } = await chatJob(chat, services, { model, meter });
    const options = { requestId: c.get("requestId"), maxTokens: request.max_tokens };
    return await answer(c, services, {
      ...job,
      choiceWriter: { ...choiceWriter, idPrefix: "msg_" },
      responseWriter: messagesWriter(options),
    });
  };
}

/** `POST /v1/messages/count_tokens`: the length of a prompt, without an answer. */
export function countTokensRoute(services: Services): Handler {
  return async (c) => {
    checkVersion(c);
    const request = await readJson(c, CountTokensRequest, UNSUPPORTED_IN_MESSAGES);
    servedName(request.model, services.model);
    tellIgnored(c, ignoredFields(request, services.model));
    const { length } = await encodeChat(toPrompt(request, services.model), services);
    return c.json({ input_tokens: length });
  };
}

function tellIgnored(c: Context, names: readonly string[]): void {
  if (names.length > 0) c.header(IGNORED_FIELDS_HEADER, names.join(", "));
}

/** Names the request as Anthropic's clients read it, and refuses versions with other shapes. */
function checkVersion(c: Context): void {
  c.header("request-id", c.get("requestId"));
  const version = c.req.header("anthropic-version");
  if (version === undefined || VERSIONS.includes(version)) return;
  const known = VERSIONS.join(" or ");
  throw invalid("anthropic-version", `anthropic-version must be ${known}, got ${quoted(version)}`);
}
