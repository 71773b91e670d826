/** A request for a chat that went through. */
export interface ChatCall {
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  readonly [field: string]: unknown;
}

/**
 * Stands between the browser and the server, so that a test decides when an answer goes on: nothing
 * depends on how fast the model is.
 */
export class Between {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #target: string;
  /** Bodies of the chats that were asked for. */
  readonly calls: ChatCall[] = [];
  /** Events after which an answer waits for {@link release}. */
  holdAfter = Infinity;
  /** Says this in place of the model. */
  said: string | undefined;
  /** Thinks this before it says something in place of the model. */
  thought: string | undefined;
  /** Answers requests for the server's state in its place. */
  health: object | undefined;
  /** Sends these messages in place of the machine's, and nothing more until {@link release}. */
  machine: readonly object[] | undefined;
  /** Asks for this key. */
  key: string | undefined;
  #isReleased = Promise.withResolvers<void>();

  constructor(target: string) {
    this.#target = target;
    this.#server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen: () => {} },
      (request) =>
        this.#answer(request).catch((error) => {
          // Whoever has left needs no answer, and nobody needs to hear of it.
          if (request.signal.aborted) return new Response(null, { status: 499 });
          throw error;
        }),
    );
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/`;
  }

  /** Lets what waits go on, and holds nothing more. */
  release(): void {
    this.holdAfter = Infinity;
    this.#isReleased.resolve();
    this.#isReleased = Promise.withResolvers();
  }

  async close(): Promise<void> {
    this.release();
    await this.#server.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/health" && this.health !== undefined) {
      return Response.json(this.health, { status: 503 });
    }
    if (pathname === "/admin/machine" && this.machine !== undefined) {
      return new Response(this.#held(this.machine), {
        headers: { "content-type": "text/event-stream" },
      });
    }
    if (this.key !== undefined && /^\/(v1|props)/.test(pathname)) {
      const isGiven = request.headers.get("authorization") === `Bearer ${this.key}`;
      const error = { message: "No API key given", code: "invalid_api_key" };
      if (!isGiven) return Response.json({ error }, { status: 401 });
    }
    const body = request.method === "POST" ? await request.text() : null;
    if (pathname !== "/v1/chat/completions" || body === null) {
      return await this.#forward(request, body);
    }
    this.calls.push(JSON.parse(body));
    if (this.said !== undefined) return sayInstead(this.said, this.thought);
    const { body: events, status, headers } = await this.#forward(request, body);
    return new Response(events?.pipeThrough(this.#gate()) ?? null, { status, headers });
  }

  #forward(request: Request, body: string | null): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    const { method, headers, signal } = request;
    const passed = new Headers(headers);
    passed.delete("host");
    return fetch(this.#target + pathname + search, { method, headers: passed, body, signal });
  }

  /** Events that come at once, in a stream that ends when it is released. */
  #held(messages: readonly object[]): ReadableStream<Uint8Array<ArrayBuffer>> {
    const isReleased = this.#isReleased.promise;
    return ReadableStream.from(async function* () {
      yield messages.map((message) => `data: ${JSON.stringify(message)}\n\n`).join("");
      await isReleased;
    }()).pipeThrough(new TextEncoderStream());
  }

  /** Holds a stream after so many events. */
  #gate(): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
    let numEvents = 0;
    return new TransformStream({
      transform: async (bytes, controller) => {
        numEvents += new TextDecoder().decode(bytes).split("\n\n").length - 1;
        if (numEvents > this.holdAfter) await this.#isReleased.promise;
        controller.enqueue(bytes);
      },
    });
  }
}

/** A stream that says a text in pieces of a few characters, as a model would. */
function sayInstead(text: string, thought?: string): Response {
  const pieces = text.match(/[\s\S]{1,400}/g) ?? [];
  const deltas = [
    ...(thought === undefined ? [] : [{ reasoning_content: thought }]),
    ...pieces.map((content) => ({ content })),
  ];
  const events = deltas.map((delta) => ({ choices: [{ index: 0, delta }] }));
  const lines = [...events.map((event) => JSON.stringify(event)), "[DONE]"];
  const body = lines.map((line) => `data: ${line}\n\n`).join("");
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}
