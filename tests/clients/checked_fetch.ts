import { assert, assertEquals } from "@std/assert";
import { CompletionAnswer, EmbeddingsAnswer } from "../support/answer_schemas.ts";
import { ChatCompletion, checkChatStream } from "../support/chat_format.ts";
import { checkMessageStream, MessageError, MessageObject } from "../support/messages_format.ts";
import { OllamaChat, OllamaError, OllamaGenerate, readLines } from "../support/ollama_format.ts";
import { checkResponseStream, ResponseObject } from "../support/responses_format.ts";

/** How the answers of an endpoint are checked, whole and as the payloads of a stream. */
interface Format {
  readonly whole: (body: unknown) => unknown;
  readonly stream: (payloads: readonly unknown[]) => unknown;
  /** Whether each event has its payload's type for a name; otherwise the last payload is [DONE]. */
  readonly namesEvents: boolean;
}

/** Of answers that are never streams, or not to these clients. */
function wholeOnly(schema: { parse: (body: unknown) => unknown }): Format {
  return {
    whole: (body) => schema.parse(body),
    stream: () => assert(false, "a stream"),
    namesEvents: false,
  };
}

const FORMATS: Readonly<Record<string, Format>> = {
  "/v1/completions": wholeOnly(CompletionAnswer),
  "/v1/embeddings": wholeOnly(EmbeddingsAnswer),
  "/v1/chat/completions": {
    whole: (body) => ChatCompletion.parse(body),
    stream: checkChatStream,
    namesEvents: false,
  },
  "/v1/responses": {
    whole: (body) => ResponseObject.parse(body),
    stream: checkResponseStream,
    namesEvents: true,
  },
  "/v1/messages": {
    whole: (body) => MessageObject.parse(body),
    stream: checkMessageStream,
    namesEvents: true,
  },
};

/** Endpoints whose streams are lines of JSON; one line is an answer in one piece. */
const LINES: Readonly<Record<string, typeof OllamaChat | typeof OllamaGenerate>> = {
  "/api/chat": OllamaChat,
  "/api/generate": OllamaGenerate,
};

const checks: Promise<void>[] = [];
let numChecked = 0;

/** The `fetch` that clients are given: every answer of the server is held to its format. */
export const checkedFetch: typeof fetch = async (input, init) => {
  const response = await fetch(input, init);
  const path = new URL(input instanceof Request ? input.url : input).pathname;
  checks.push(check(path, response.clone()));
  return response;
};

/** Waits for all checks so far, and tells how many answers have been checked. */
export async function checked(): Promise<number> {
  await Promise.all(checks.splice(0));
  return numChecked;
}

async function check(path: string, response: Response): Promise<void> {
  const text = await response.text();
  const format = FORMATS[path];
  if (response.status !== 200) {
    const body = JSON.parse(text);
    if (path.startsWith("/api/")) OllamaError.parse(body);
    else if (path.startsWith("/v1/messages")) MessageError.parse(body);
    else assertEquals(typeof body.error.message, "string");
    return;
  }
  const lines = LINES[path];
  if (lines !== undefined) {
    numChecked++;
    readLines(text, lines);
  }
  if (format === undefined) return;
  numChecked++;
  if (response.headers.get("content-type")?.startsWith("application/json")) {
    format.whole(JSON.parse(text));
    return;
  }
  assert(text.endsWith("\n\n"));
  const events = text.slice(0, -2).split("\n\n").filter((event) => !event.startsWith(":"));
  if (!format.namesEvents) assertEquals(events.pop(), "data: [DONE]");
  format.stream(events.map((event) => payloadOf(event, format)));
}

function payloadOf(event: string, { namesEvents }: Format): unknown {
  const [, name, data] = /^(?:event: (\S+)\n)?data: (.*)$/.exec(event)!;
  const payload = JSON.parse(data!);
  assertEquals(name, namesEvents ? payload.type : undefined);
  return payload;
}
