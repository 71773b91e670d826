import { EventSourceParserStream } from "eventsource-parser/stream";
import { type Clock, systemClock } from "../base/clock.ts";
import { StartupError } from "../core/errors.ts";

/** A server of OpenAI's API, and how it is reached. */
export interface ServerAddress {
  /** Without a slash at its end, `/v1` included. */
  readonly baseUrl: string;
  readonly apiKey?: string;
  /** Sends a request: the network's, or a server in this process. */
  readonly fetch: (request: Request) => Response | Promise<Response>;
  /** By which parts are timed; this machine's if absent. */
  readonly clock?: Clock;
}

/** The token counts that end an answer. */
export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Prompt tokens whose KV was found in the prefix cache; undefined where the server is silent. */
  readonly cachedTokens?: number;
}

/** A piece of a streamed answer. */
export interface AnswerPart {
  /** Text of the answer; empty for the parts that carry none. */
  readonly text: string;
  /** What the model thought before it answered. */
  readonly thinking: string;
  readonly finishReason?: string;
  readonly usage?: Usage;
  /** What the prompt found in the prefix cache, and why not more: of Quire's `explain`. */
  readonly explanation?: string;
  /** Whether the event had a choice, with or without text. */
  readonly hasChoice: boolean;
  /** When it arrived, by the server's clock ({@link ServerAddress}). */
  readonly atMs: number;
}

/** One message of a conversation. */
export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** The body of a request, in OpenAI's names. */
export type RequestFields = Readonly<Record<string, unknown>>;

/** Longest part of a server's refusal that is repeated, characters. */
const MAX_REFUSAL = 400;

/**
 * The base of a server's API: a scheme is added where there is none, and `/v1` where there is no
 * path.
 *
 * @throws {StartupError} for what is no address.
 */
export function baseUrlOf(text: string): string {
  const withScheme = /^https?:\/\//i.test(text) ? text : `http://${text}`;
  let url: URL;
  try {
    url = new URL(withScheme);
  } catch {
    throw new StartupError(
      `${JSON.stringify(text)} is no address of a server, such as http://127.0.0.1:8000`,
    );
  }
  const path = url.pathname.replace(/\/+$/, "");
  return `${url.origin}${path === "" ? "/v1" : path}`;
}

/** Asks a server of OpenAI's API. */
export class OpenAiClient {
  readonly #server: ServerAddress;

  constructor(server: ServerAddress) {
    this.#server = server;
  }

  get baseUrl(): string {
    return this.#server.baseUrl;
  }

  get clock(): Clock {
    return this.#server.clock ?? systemClock;
  }

  /** The names of the server's models. @throws {StartupError} */
  async models(): Promise<string[]> {
    return (await this.#models()).map(({ id }) => String(id));
  }

  /** Whether the server is one of Quire's, which take `explain`. @throws {StartupError} */
  async explains(): Promise<boolean> {
    return (await this.#models())[0]?.owned_by === "quire";
  }

  async #models(): Promise<{ readonly id?: unknown; readonly owned_by?: unknown }[]> {
    const { data } = Object(await this.#json("GET", "/models"));
    return Array.isArray(data) ? data : [];
  }

  /**
   * Streams a chat's answer. Ends early, and closes the connection, when `signal` aborts.
   *
   * @throws {StartupError} where the server refuses or cannot be reached.
   */
  chat(
    fields: RequestFields & { readonly messages: readonly Message[] },
    signal?: AbortSignal,
  ): AsyncGenerator<AnswerPart> {
    return this.#stream("/chat/completions", fields, signal);
  }

  /** `chat` for a plain text that is continued. */
  complete(
    fields: RequestFields & { readonly prompt: string },
    signal?: AbortSignal,
  ): AsyncGenerator<AnswerPart> {
    return this.#stream("/completions", fields, signal);
  }

  /** A chat's answer in one piece, as the server sends it. @throws {StartupError} */
  async chatWhole(fields: RequestFields): Promise<unknown> {
    return await this.#json("POST", "/chat/completions", fields);
  }

  /**
   * What has happened to a request, of a server of Quire's, which tells it to administrators.
   *
   * @throws {StartupError}
   */
  async requestTrace(id: string): Promise<unknown> {
    const baseUrl = this.#server.baseUrl.replace(/\/v1$/, "");
    const root = new OpenAiClient({ ...this.#server, baseUrl });
    return await root.#json("GET", `/admin/requests/${encodeURIComponent(id)}`);
  }

  async #json(method: "GET" | "POST", path: string, body?: RequestFields): Promise<unknown> {
    const response = await this.#send(method, path, body);
    const text = await response.text().catch((error) => {
      throw this.#brokenOff(error);
    });
    try {
      return JSON.parse(text);
    } catch {
      throw new StartupError(
        `${this.baseUrl}${path} answered ${JSON.stringify(text.slice(0, 80))}, which is no JSON`,
      );
    }
  }

  async *#stream(
    path: string,
    fields: RequestFields,
    signal?: AbortSignal,
  ): AsyncGenerator<AnswerPart> {
    const body = { ...fields, stream: true, stream_options: { include_usage: true } };
    const response = await this.#send("POST", path, body, signal);
    // A server in this process does not see the signal; that nobody reads any more, it does.
    const events = response.body!
      .pipeThrough(new TextDecoderStream(), signal === undefined ? {} : { signal })
      .pipeThrough(new EventSourceParserStream());
    try {
      for await (const { data } of events) {
        if (data === "[DONE]") return;
        yield readChunk(data, this.clock.now());
      }
    } catch (error) {
      if (signal?.aborted === true || error instanceof StartupError) throw error;
      throw this.#brokenOff(error);
    }
  }

  #brokenOff(error: unknown): StartupError {
    const reason = error instanceof Error ? error.message : String(error);
    return new StartupError(`The connection to ${this.baseUrl} broke off: ${reason}`);
  }

  async #send(
    method: "GET" | "POST",
    path: string,
    body?: RequestFields,
    signal?: AbortSignal,
  ): Promise<Response> {
    const { baseUrl, apiKey, fetch } = this.#server;
    const request = new Request(baseUrl + path, {
      method,
      headers: {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
    let response: Response;
    try {
      response = await fetch(request);
    } catch (error) {
      if (signal?.aborted === true) throw error;
      throw new StartupError(`Cannot reach ${baseUrl}${path}: ${(error as Error).message}`);
    }
    if (response.ok) return response;
    throw new StartupError(`${baseUrl}${path} answered ${await describeRefusal(response)}`);
  }
}

async function describeRefusal(response: Response): Promise<string> {
  const text = await response.text().catch(() => "");
  let message = text;
  try {
    const { error } = JSON.parse(text);
    message = typeof error === "string" ? error : error.message ?? text;
  } catch {
    // No JSON: its text says what it says.
  }
  const words = String(message).replace(/\s+/g, " ").trim().slice(0, MAX_REFUSAL);
  const hint = response.status === 401 ? " (a key is given with --api-key)" : "";
  return words === "" ? `${response.status}${hint}` : `${response.status}: ${words}${hint}`;
}

/** The part of a chunk that is read; servers add more. */
interface Chunk {
  readonly choices?: readonly {
    readonly text?: string | null;
    readonly delta?: {
      readonly content?: string | null;
      readonly reasoning_content?: string | null;
      readonly reasoning?: string | null;
    };
    readonly finish_reason?: string | null;
  }[];
  readonly usage?: {
    readonly prompt_tokens?: number;
    readonly completion_tokens?: number;
    readonly prompt_tokens_details?: { readonly cached_tokens?: number } | null;
  } | null;
  readonly error?: { readonly message?: string } | string;
  readonly quire?: { readonly prompts?: readonly { readonly text?: string }[] };
}

/** @throws {StartupError} for an error in the middle of a stream. */
function readChunk(data: string, atMs: number): AnswerPart {
  let chunk: Chunk;
  try {
    chunk = JSON.parse(data);
  } catch {
    throw new StartupError(`The server sent an event that is no JSON: ${data.slice(0, 80)}`);
  }
  const { error } = chunk;
  if (error !== undefined && error !== null) {
    const words = typeof error === "string" ? error : error.message ?? JSON.stringify(error);
    throw new StartupError(`The server broke off: ${words.slice(0, MAX_REFUSAL)}`);
  }
  const choice = chunk.choices?.[0];
  const usage = readUsage(chunk);
  const explanation = chunk.quire?.prompts?.[0]?.text;
  return {
    text: choice?.delta?.content ?? choice?.text ?? "",
    thinking: choice?.delta?.reasoning_content ?? choice?.delta?.reasoning ?? "",
    ...(typeof choice?.finish_reason === "string" ? { finishReason: choice.finish_reason } : {}),
    ...(usage === undefined ? {} : { usage }),
    ...(typeof explanation === "string" ? { explanation } : {}),
    hasChoice: choice !== undefined,
    atMs,
  };
}

function readUsage({ usage }: Chunk): Usage | undefined {
  if (usage === undefined || usage === null) return undefined;
  const cachedTokens = usage.prompt_tokens_details?.cached_tokens;
  return {
    promptTokens: usage.prompt_tokens ?? 0,
    completionTokens: usage.completion_tokens ?? 0,
    ...(cachedTokens === undefined ? {} : { cachedTokens }),
  };
}
