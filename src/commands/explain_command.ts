import { z } from "zod";
import type { OpenAiClient } from "../client/openai_client.ts";
import { StartupError } from "../core/errors.ts";
import type { ExplainConfig } from "../core/explain_config.ts";
import { visibleText } from "../terminal/style.ts";
import { clientOf } from "./server_client.ts";

/** The part of an explanation that is shown; a newer server may say more. */
const Explanation = z.object({
  decisions: z.array(z.object({ step: z.int(), text: z.string() })),
  prompts: z.array(z.object({ text: z.string() })),
});

/** The part of a request trace that is shown; a newer server may say more. */
const RequestTrace = z.object({
  id: z.string(),
  sequences: z.array(z.object({
    index: z.int(),
    state: z.string(),
    queue_ms: z.number().nullable(),
    prefill_ms: z.number().nullable(),
    decode_ms: z.number().nullable(),
    cached_tokens: z.int(),
    preemptions: z.int(),
    lines: z.array(z.string()),
  })),
});

/**
 * `quire explain FILE`: what a request finds in a server's prefix cache, and why not more.
 *
 * @param text the request's body, or its messages, as JSON.
 * @throws {StartupError} for a text that is neither, and where the server refuses or explains
 * nothing.
 */
export async function explainCommand(
  { url, apiKey, decisions, json }: Omit<ExplainConfig, "file">,
  text: string,
): Promise<string> {
  const body = requestOf(text);
  const client = clientOf({ url, apiKey });
  const answer = await client.chatWhole({
    ...body,
    ...{ explain: true, max_tokens: 1, stream: false, stream_options: undefined },
  });
  const { quire } = answer as { quire?: unknown };
  const { data: found, success } = Explanation.safeParse(quire);
  if (!success) throw new StartupError(explainsNothing(client));
  if (json) return JSON.stringify(quire);
  return [
    ...found.prompts.map(({ text }) => visibleText(text)),
    ...(decisions ? found.decisions.map(({ step, text }) => `step ${step}: ${text}`) : []),
  ].join("\n");
}

/**
 * `quire explain ID`: what has happened to a request that a server has been sent, and why.
 *
 * @throws {StartupError} where the server refuses, or does not know it.
 */
export async function explainRequest(
  { url, apiKey, requestId, json }: Pick<ExplainConfig, "url" | "apiKey" | "json"> & {
    readonly requestId: string;
  },
): Promise<string> {
  const client = clientOf({ url, apiKey });
  const answer = await client.requestTrace(requestId);
  const { data: trace, success } = RequestTrace.safeParse(answer);
  if (!success) throw new StartupError(explainsNothing(client));
  if (json) return JSON.stringify(answer);
  return trace.sequences.flatMap((sequence) => {
    const { index, state, cached_tokens, preemptions, lines } = sequence;
    const times = (["queue", "prefill", "decode"] as const).flatMap((part) => {
      const ms = sequence[`${part}_ms`];
      return ms === null ? [] : [`${part} ${ms} ms`];
    });
    const facts = [state, ...times, `${cached_tokens} tokens cached`, `${preemptions} preemptions`];
    return [`${trace.id}[${index}]: ${facts.join(", ")}`, ...lines.map((line) => `  ${line}`)];
  }).map(visibleText).join("\n");
}

function explainsNothing({ baseUrl }: OpenAiClient): string {
  return `${baseUrl} explains nothing: it is no server of Quire's`;
}

function requestOf(text: string): Readonly<Record<string, unknown>> {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new StartupError(`The request is no JSON: ${(error as Error).message}`);
  }
  if (Array.isArray(body)) return { messages: body };
  if (typeof body === "object" && body !== null && "messages" in body) {
    return body as Record<string, unknown>;
  }
  throw new StartupError('The request needs "messages", as /v1/chat/completions takes them');
}
