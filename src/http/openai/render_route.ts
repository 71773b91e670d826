import type { Handler } from "hono";
import { encodeChat } from "../chat/chat_job.ts";
import { ChatRequest, toChatMessages, toEncodeChatOptions } from "./chat_schema.ts";
import { longJson, LongList } from "./long_json.ts";
import { readJson } from "../body/read_json.ts";
import { servedName } from "../served_model.ts";
import type { Services } from "../services.ts";
import { templateVariablesOf } from "../fields/thinking_fields.ts";
import { toolUseOf } from "../fields/tool_fields.ts";
import { UNSUPPORTED_IN_CHAT } from "../fields/unsupported_fields.ts";

/** The prompt of a chat request: its ids, and their text with special tokens written out. */
function rendered(services: Services) {
  const { text, model } = services;
  return async (request: ChatRequest) => {
    servedName(request.model, model);
    const messages = toChatMessages(request.messages, model);
    const ids = await encodeChat({
      messages,
      closing: toEncodeChatOptions(request, messages),
      use: toolUseOf(request),
      variables: templateVariablesOf(request, model),
      source: "messages",
    }, services);
    const [prompt] = await text.decode([ids]);
    return { ids, prompt: prompt! };
  };
}

/** `POST /apply-template`, llama.cpp's: the prompt that a chat request becomes, as text. */
export function applyTemplateRoute(services: Services): Handler {
  const render = rendered(services);
  return async (c) => {
    const { prompt } = await render(await readJson(c, ChatRequest, UNSUPPORTED_IN_CHAT));
    return longJson(c, { prompt });
  };
}

/**
 * `POST /v1/chat/completions/render`: the prompt that a chat request becomes, as text and as ids,
 * and the context that it has to fit. Nothing is generated.
 */
export function renderRoute(services: Services): Handler {
  const render = rendered(services);
  return async (c) => {
    const request = await readJson(c, ChatRequest, UNSUPPORTED_IN_CHAT);
    const { ids, prompt } = await render(request);
    const maxModelLen = services.engine.info?.maxModelLen;
    return longJson(c, {
      object: "chat.completion.prompt",
      model: servedName(request.model, services.model),
      prompt,
      prompt_token_ids: new LongList(ids.length, (i) => ids[i]!),
      count: ids.length,
      ...(maxModelLen === undefined ? {} : { max_model_len: maxModelLen }),
    });
  };
}
