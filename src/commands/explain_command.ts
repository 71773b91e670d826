import { z } from "zod";
import { baseUrlOf, OpenAiClient } from "../client/openai_client.ts";
import { StartupError } from "../core/errors.ts";
import type { ExplainConfig } from "../core/explain_config.ts";
import { visibleText } from "../terminal/style.ts";
import { netHost, requirePermissions } from "./permissions.ts";

/** The part of an explanation that is shown; a newer server may say more. */
const Explanation = z.object({
  decisions: z.array(z.object({ step: z.int(), text: z.string() })),
  prompts: z.array(z.object({ text: z.string() })),
});

/**
 * `quire explain`: what a request finds in a server's prefix cache, and why not more.
 *
 * @param text the request's body, or its messages, as JSON.
 * @throws {StartupError} for a text that is neither, and where the server refuses or explains
 * nothing.
 */
export async function explainCommand(
  { url, apiKey, decisions, json }: Omit<ExplainConfig, "file">,
  text: string,
): Promise<string> {
  const baseUrl = baseUrlOf(url);
  const body = requestOf(text);
  requirePermissions({ net: [netHost(baseUrl)] });
  const key = apiKey?.split(/[\s,]/)[0];
  const client = new OpenAiClient({
    baseUrl,
    fetch,
    ...(key === undefined ? {} : { apiKey: key }),
  });
  const answer = await client.chatWhole({
    ...body,
    ...{ explain: true, max_tokens: 1, stream: false, stream_options: undefined },
  });
  const { quire } = answer as { quire?: unknown };
  const { data: found, success } = Explanation.safeParse(quire);
  if (!success) throw new StartupError(`${baseUrl} explains nothing: it is no server of Quire's`);
  if (json) return JSON.stringify(quire);
  return [
    ...found.prompts.map(({ text }) => visibleText(text)),
    ...(decisions ? found.decisions.map(({ step, text }) => `step ${step}: ${text}`) : []),
  ].join("\n");
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
