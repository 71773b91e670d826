import type { OriginMessage } from "../../src/core/prompt_origin.ts";
import type { TestServer } from "../http/server.ts";
import { type ExplainedPrompt, Explanation } from "./explain_format.ts";

/** A conversation as a client keeps it. */
export interface Talk {
  readonly system: string | undefined;
  readonly messages: readonly OriginMessage[];
  readonly tools?: readonly Tool[];
  /** `chat_template_kwargs` and further fields. */
  readonly fields?: Readonly<Record<string, unknown>>;
  readonly salt?: string;
}

/** A tool as OpenAI's clients send it. */
export interface Tool {
  readonly type: "function";
  readonly function: {
    readonly name: string;
    readonly description: string;
    readonly parameters: Readonly<Record<string, unknown>>;
  };
}

/** APIs by which a conversation can be sent. */
export const CHAT_APIS = ["chat", "chat_stream", "responses", "messages", "ollama"] as const;
export type ChatApi = typeof CHAT_APIS[number];

/** Sends a conversation with `explain`; returns what is told of its prompt. */
export async function explained(
  server: TestServer,
  talk: Talk,
  api: ChatApi = "chat",
  headers: HeadersInit = {},
): Promise<ExplainedPrompt> {
  const [path, body] = requestOf(talk, api);
  const response = await server.post(path, body, headers);
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${text}`);
  const { prompts } = Explanation.parse(explanationIn(api, text));
  if (prompts.length !== 1) throw new Error(`${prompts.length} prompts are explained`);
  return prompts[0]!;
}

function explanationIn(api: ChatApi, text: string): unknown {
  if (api !== "chat_stream") return JSON.parse(text).quire;
  const events = text.split("\n\n").filter((event) => event.startsWith("data: {"));
  return JSON.parse(events.at(-1)!.slice("data: ".length)).quire;
}

function requestOf(talk: Talk, api: ChatApi): [path: string, body: unknown] {
  const { system, messages, tools, salt } = talk;
  const extras = {
    explain: true,
    ...talk.fields,
    ...(salt === undefined ? {} : { cache_salt: salt }),
  };
  const withTools = tools === undefined ? {} : { tools };
  const all = [
    ...(system === undefined ? [] : [{ role: "system", content: system }]),
    ...messages,
  ];
  switch (api) {
    case "chat":
      return ["/v1/chat/completions", { messages: all, ...withTools, ...extras }];
    case "chat_stream":
      return ["/v1/chat/completions", { messages: all, ...withTools, ...extras, stream: true }];
    case "responses": {
      const input = messages.map(({ role, content }) => ({ role, content }));
      return ["/v1/responses", { instructions: system, input, ...extras }];
    }
    case "messages": {
      const turns = messages.map(({ role, content }) => ({ role, content }));
      return ["/v1/messages", {
        model: "quire/test",
        max_tokens: 500,
        system,
        messages: turns,
        ...extras,
      }];
    }
    case "ollama":
      return ["/api/chat", {
        model: "quire/test",
        messages: all,
        ...withTools,
        ...extras,
        stream: false,
      }];
  }
}
