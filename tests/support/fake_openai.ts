import { OpenAiClient } from "../../src/client/openai_client.ts";

/** A request as the fake server got it. */
export interface SeenRequest {
  readonly path: string;
  readonly authorization: string | null;
  // deno-lint-ignore no-explicit-any -- tests look into bodies
  readonly body: any;
}

/** What the fake server answers: pieces of text, or a refusal. */
export interface FakeAnswer {
  readonly pieces?: readonly string[];
  readonly thinking?: readonly string[];
  readonly usage?: Record<string, unknown>;
  /** What Quire says of the prompt where `explain` asks for it. */
  readonly explanation?: string;
  /** A refusal with this status and body. */
  readonly refusal?: readonly [status: number, body: string];
  /** After the pieces: an error event, or silence until the reader leaves. */
  readonly end?: "done" | "error" | "silence";
}

/** A server of OpenAI's API that answers as it is told. */
export class FakeOpenAi {
  readonly requests: SeenRequest[] = [];
  readonly client: OpenAiClient;
  numCancelled = 0;

  constructor(
    readonly answer: (request: SeenRequest) => FakeAnswer,
    options: { readonly apiKey?: string; readonly models?: readonly string[] } = {},
  ) {
    const { models = ["fake"], ...rest } = options;
    this.client = new OpenAiClient({
      baseUrl: "http://fake/v1",
      ...rest,
      fetch: async (request) => {
        const path = new URL(request.url).pathname;
        if (path === "/v1/models") {
          return Response.json({ data: models.map((id) => ({ id })) });
        }
        const authorization = request.headers.get("authorization");
        const seen = { path, authorization, body: await request.json() };
        this.requests.push(seen);
        return this.#respond(this.answer(seen), path === "/v1/chat/completions");
      },
    });
  }

  #respond(
    { pieces = [], thinking = [], usage, explanation, refusal, end = "done" }: FakeAnswer,
    isChat: boolean,
  ): Response {
    if (refusal !== undefined) return new Response(refusal[1], { status: refusal[0] });
    const delta = (fields: Record<string, unknown>, finish_reason: string | null = null) => ({
      choices: [
        isChat ? { delta: fields, finish_reason } : { text: fields.content ?? "", finish_reason },
      ],
    });
    const events: unknown[] = [
      ...isChat ? [delta({ role: "assistant", content: "" })] : [],
      ...thinking.map((reasoning_content) => delta({ reasoning_content })),
      ...pieces.map((content) => delta({ content })),
      ...(end === "done" ? [delta({}, "stop")] : []),
      ...(usage === undefined ? [] : [{ choices: [], usage }]),
      ...(explanation === undefined
        ? []
        : [{ choices: [], quire: { prompts: [{ text: explanation }] } }]),
      ...(end === "error" ? [{ error: { message: "the engine is gone" } }] : []),
    ];
    const texts = [
      ...events.map((event) => JSON.stringify(event)),
      ...end === "done" ? ["[DONE]"] : [],
    ];
    const encoder = new TextEncoder();
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        const text = texts.shift();
        if (text !== undefined) controller.enqueue(encoder.encode(`data: ${text}\n\n`));
        else if (end !== "silence") controller.close();
      },
      cancel: () => void this.numCancelled++,
    });
    return new Response(stream, { headers: { "content-type": "text/event-stream" } });
  }
}
