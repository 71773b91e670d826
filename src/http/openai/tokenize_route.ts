import type { Handler } from "hono";
import { z } from "zod";
import { RequestError } from "../../core/errors.ts";
import { longArray } from "../body/bounded_array.ts";
import { Messages, toChatMessages, toEncodeChatOptions } from "./chat_schema.ts";
import { longJson, LongList } from "./long_json.ts";
import { readJson } from "../body/read_json.ts";
import { invalid } from "../refusals.ts";
import { servedName } from "../served_model.ts";
import type { Services } from "../services.ts";
import { templateVariablesOf, THINKING_FIELDS } from "../fields/thinking_fields.ts";
import { parseTokenIds } from "../fields/token_ids.ts";
import { TOOL_FIELDS } from "../fields/tool_fields.ts";
import { UNSUPPORTED_IN_CHAT, type UnsupportedFields } from "../fields/unsupported_fields.ts";

/** Longest text taken, UTF-16 code units: more than the longest contexts of today hold. */
const MAX_CHARS = 2 ** 22;
const MAX_TOKENS = 2 ** 18;

const Text = z.string().max(MAX_CHARS).nullish();
const Flag = z.boolean().nullish();

/** Body of `POST /tokenize`: vLLM's `{prompt | messages, ...}` and llama.cpp's `{content, ...}`. */
export const TokenizeRequest = z.looseObject({
  model: z.string().nullish(),
  prompt: Text,
  content: Text,
  messages: Messages.nullish(),
  tools: TOOL_FIELDS.tools,
  chat_template_kwargs: THINKING_FIELDS.chat_template_kwargs,
  add_special_tokens: Flag,
  add_special: Flag,
  parse_special: Flag,
  return_token_strs: Flag,
  with_pieces: Flag,
  add_generation_prompt: Flag,
  continue_final_message: Flag,
});
type TokenizeRequest = z.output<typeof TokenizeRequest>;

/** Body of `POST /detokenize`. */
export const DetokenizeRequest = z.looseObject({
  model: z.string().nullish(),
  tokens: longArray(MAX_TOKENS),
});

/** Fields that would change the tokens of a conversation and are not implemented. */
const UNSUPPORTED: UnsupportedFields = new Map(
  ["chat_template"].map((name) => [name, UNSUPPORTED_IN_CHAT.get(name)!]),
);

/**
 * `POST /tokenize` in vLLM's and llama.cpp's shape, answered with the union of both: `tokens`,
 * `count` and `max_model_len`; `token_strs` where asked for; ids with their texts where
 * `with_pieces` is set.
 *
 * Special tokens in `prompt` and `content` become their ids; with `parse_special: false` control
 * tokens in them are text. `add_special_tokens` and `add_special` only concern the tokens that the
 * model puts around every text. In `messages`, control tokens are always text.
 */
export function tokenizeRoute(services: Services): Handler {
  const { text, engine } = services;
  return async (c) => {
    const request = await readJson(c, TokenizeRequest, UNSUPPORTED);
    servedName(request.model, services.model);
    const ids = await encode(request, services);
    const maxModelLen = engine.info?.maxModelLen;
    const numTokens = ids.length;
    const id = (i: number) => ids[i]!;
    const piece = (i: number) => text.tokenText(ids[i]!);
    return longJson(c, {
      count: numTokens,
      ...(maxModelLen === undefined ? {} : { max_model_len: maxModelLen }),
      tokens: request.with_pieces === true
        ? new LongList(numTokens, (i) => ({ id: id(i), piece: piece(i) }))
        : new LongList(numTokens, id),
      ...(request.return_token_strs === true ? { token_strs: new LongList(numTokens, piece) } : {}),
    });
  };
}

async function encode(
  request: TokenizeRequest,
  { text, model }: Pick<Services, "text" | "model">,
): Promise<Uint32Array> {
  const { prompt, content } = request;
  const parseSpecial = request.parse_special ?? true;
  if (request.messages !== undefined && request.messages !== null) {
    if (request.parse_special === true) {
      throw invalid(
        "parse_special",
        "parse_special must not be true with messages: control tokens in them are text",
      );
    }
    const messages = toChatMessages(request.messages, model);
    const tools = request.tools ?? [];
    return await text.encodeChat(messages, {
      ...toEncodeChatOptions(request, messages),
      ...(tools.length === 0 ? {} : { tools }),
      variables: templateVariablesOf(request, model),
    });
  }
  if (typeof prompt === "string") {
    const addSpecialTokens = request.add_special_tokens ?? true;
    return (await text.encode([prompt], { addSpecialTokens, parseSpecial }))[0]!;
  }
  if (typeof content === "string") {
    const addSpecialTokens = request.add_special ?? false;
    return (await text.encode([content], { addSpecialTokens, parseSpecial }))[0]!;
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
    const [content] = await text.decode([parseTokenIds(tokens, "tokens", text.vocabSize)]);
    return longJson(c, { content, prompt: content });
  };
}
