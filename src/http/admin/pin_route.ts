import type { Context, Handler } from "hono";
import { z } from "zod";
import { RequestError } from "../../core/errors.ts";
import { cacheScope } from "../access/cache_scope.ts";
import { Messages, toChatMessages } from "../openai/chat_schema.ts";
import { readJson } from "../body/read_json.ts";
import { notFound, quoted } from "../refusals.ts";
import { SAMPLING_FIELDS } from "../fields/sampling_fields.ts";
import type { Services } from "../services.ts";
import { parseTokenIds } from "../fields/token_ids.ts";
import { neutral, type UnsupportedFields } from "../fields/unsupported_fields.ts";

const MAX_CHARS = 2 ** 22;
const MAX_TOKENS = 2 ** 18;

/** A pin's name, which is also a segment of a path. */
const Name = z.string().regex(/^[\w.-]{1,100}$/, "1 to 100 letters, digits, '.', '_' or '-'");

/** Body of `POST /admin/kv/pins`. */
export const PinRequest = z.looseObject({
  name: Name,
  prompt: z.union([z.string().min(1).max(MAX_CHARS), z.array(z.unknown()).max(MAX_TOKENS)])
    .nullish(),
  messages: Messages.nullish(),
  cache_salt: SAMPLING_FIELDS.cache_salt,
});
type PinRequest = z.output<typeof PinRequest>;

/** A pin is of what the operator's template makes of a conversation. */
const UNSUPPORTED: UnsupportedFields = new Map([["chat_template", neutral("null")]]);

/**
 * `POST /admin/kv/pins`: keeps what is cached of a prompt or conversation from eviction, under a
 * name and in the caller's own scope. Answers with the number of cached and now pinned tokens; send
 * the prompt first.
 */
export function pinRoute(services: Services): Handler {
  return async (c) => {
    const request = await readJson(c, PinRequest, UNSUPPORTED);
    const tokens = await tokensOf(request, services);
    const scope = cacheScope(c, services.cacheSecret, request.cache_salt);
    const { numBlocks, numTokens, numPinned, maxNumPinned } = await services.engine.command({
      type: "pin_prefix",
      name: pinName(c, services, request.name),
      tokens,
      ...(scope === undefined ? {} : { cacheScope: scope }),
    });
    return c.json({
      name: request.name,
      n_blocks: numBlocks,
      n_tokens: numTokens,
      n_prompt_tokens: tokens.length,
      n_pinned_blocks: numPinned,
      max_pinned_blocks: maxNumPinned,
    });
  };
}

/** `DELETE /admin/kv/pins/NAME`: lets a pinned prefix be evicted again. */
export function unpinRoute(services: Services): Handler {
  return async (c) => {
    const name = c.req.param("name") ?? "";
    const { wasPinned } = await services.engine.command({
      type: "unpin_prefix",
      name: pinName(c, services, name),
    });
    if (wasPinned) return c.json({ name, status: "ok" });
    throw notFound("name", `There is no pin ${quoted(name, 100)}`);
  };
}

/** Puts pins of different keys apart, so that no key replaces or removes another's. */
function pinName(c: Context, { cacheSecret }: Services, name: string): string {
  return `${cacheScope(c, cacheSecret, undefined) ?? ""}/${name}`;
}

async function tokensOf(request: PinRequest, { text, model }: Services): Promise<Uint32Array> {
  const { prompt, messages } = request;
  if (messages !== undefined && messages !== null) {
    // Without the opening of an answer, which is not part of the prefix.
    return await text.encodeChat(toChatMessages(messages, model), { addGenerationPrompt: false });
  }
  if (typeof prompt === "string") {
    const [ids] = await text.encode([prompt]);
    return ids!;
  }
  if (prompt !== undefined && prompt !== null) {
    return Uint32Array.from(parseTokenIds(prompt, "prompt", text.vocabSize));
  }
  throw new RequestError("prompt or messages is required", {
    code: "missing_required_parameter",
    param: "prompt",
  });
}
