import type { Handler } from "hono";
import { z } from "zod";
import { RequestError } from "../core/errors.ts";
import { Messages, toChatMessages, toEncodeChatOptions } from "./chat_schema.ts";
import { readJson } from "./read_json.ts";
import { servedName } from "./served_model.ts";
import type { Services, TextService } from "./services.ts";
import { parseTokenIds } from "./token_ids.ts";
import { UNSUPPORTED_IN_CHAT, type UnsupportedFields } from "./unsupported_fields.ts";

/** Longest text taken, in characters: tokenizing runs beside every other request. */
const MAX_CHARS = 2 ** 22;
const MAX_TOKENS = 2 ** 20;

const Text = z.string().max(MAX_CHARS).nullish();
const Flag = z.boolean().nullish();

/** vLLM's `{prompt | messages, ...}` and llama.cpp's `{content, ...}`. */
const TokenizeRequest = z.looseObject({
  model: z.string().nullish(),
  prompt: Text,
  content: Text,
  messages: Messages.nullish(),
  add_special_tokens: Flag,
  add_special: Flag,
  return_token_strs: Flag,
  with_pieces: Flag,
  add_generation_prompt: Flag,
  continue_final_message: Flag,
});
type TokenizeRequest = z.output<typeof TokenizeRequest>;

const DetokenizeRequest = z.looseObject({
  model: z.string().nullish(),
  tokens: z.array(z.unknown()).max(MAX_TOKENS),
});

/** What changes the tokens of a conversation and is not implemented. */
const UNSUPPORTED: UnsupportedFields = new Map(
  ["tools", "chat_template", "chat_template_kwargs"]
    .map((name) => [name, UNSUPPORTED_IN_CHAT.get(name)!]),
);

/**
 * `POST /tokenize` in vLLM's and llama.cpp's shape, answered with the union of both: `tokens`, `count`
 * and `max_model_len`; `token_strs` where asked for; ids with their texts where `with_pieces` is set.
 */
export function tokenizeRoute(services: Services): Handler {
  const { text, engine } = services;
  return async (c) => {
    const request = await readJson(c, TokenizeRequest, UNSUPPORTED);
    servedName(request.model, services.model);
    const ids = [...await encode(request, text)];
    const maxModelLen = engine.info?.maxModelLen;
    return c.json({
      count: ids.length,
      ...(maxModelLen === undefined ? {} : { max_model_len: maxModelLen }),
      tokens: request.with_pieces === true
        ? ids.map((id) => ({ id, piece: text.tokenText(id) }))
        : ids,
      ...(request.return_token_strs === true
        ? { token_strs: ids.map((id) => text.tokenText(id)) }
        : {}),
    });
  };
}

async function encode(request: TokenizeRequest, text: TextService): Promise<Uint32Array> {
  const { prompt, content } = request;
  if (request.messages !== undefined && request.messages !== null) {
    const messages = toChatMessages(request.messages);
    return await text.encodeChat(messages, toEncodeChatOptions(request, messages));
  }
  if (typeof prompt === "string") {
    return text.encode(prompt, { addSpecialTokens: request.add_special_tokens ?? true });
  }
  if (typeof content === "string") {
    return text.encode(content, { addSpecialTokens: request.add_special ?? false });
  }
  throw new RequestError("prompt, messages or content is required", {
    code: "missing_required_parameter",
    param: "prompt",
  });
}

/** `POST /detokenize`: `tokens` to text, under llama.cpp's name `content` and vLLM's `prompt`. */
export function detokenizeRoute(services: Services): Handler {
  const { text } = services;
  return async (c) => {
    const { model, tokens } = await readJson(c, DetokenizeRequest);
    servedName(model, services.model);
    const content = text.decode(parseTokenIds(tokens, "tokens", text.vocabSize));
    return c.json({ content, prompt: content });
  };
}
