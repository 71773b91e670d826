// deno-lint-ignore-file no-console -- why tests are skipped is printed
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { runInTerminal, whyNoTerminal } from "../support/pseudo_terminal.ts";

if (whyNoTerminal !== undefined) console.warn(`terminal tests are skipped: ${whyNoTerminal}`);

/** A server over the network that counts the messages, or writes until nobody reads. */
class CountingServer implements AsyncDisposable {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  /** The last message of each request. */
  readonly asked: string[] = [];
  numLeft = 0;

  constructor() {
    this.#server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
      return request.method === "GET"
        ? Response.json({ data: [{ id: "counter" }] })
        : this.#answer(request);
    });
  }

  get url(): string {
    return `127.0.0.1:${this.#server.addr.port}`;
  }

  async #answer(request: Request): Promise<Response> {
    const { messages } = await request.json();
    const text = messages.at(-1).content;
    this.asked.push(text);
    const usage = {
      prompt_tokens: 9,
      completion_tokens: 2,
      prompt_tokens_details: { cached_tokens: 8 },
    };
    const event = (data: unknown) => new TextEncoder().encode(`data: ${JSON.stringify(data)}\n\n`);
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const delta = { content: `**${messages.length}** said\x1b[2J.` };
        controller.enqueue(event({ choices: [{ delta }] }));
        if (text === "endless") return;
        controller.enqueue(event({ choices: [], usage }));
        controller.close();
      },
      cancel: () => void this.numLeft++,
    });
    return new Response(stream, { headers: { "content-type": "text/event-stream" } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

const PROMPT = "\x1b[1m> \x1b[22m";

Deno.test({
  name: "a chat in a terminal: editing, pastes, several lines, Ctrl-C, history and the end",
  ignore: whyNoTerminal !== undefined,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using server = new CountingServer();
    const { code, output } = await runInTerminal(["chat", "--url", server.url], [
      { wait: PROMPT, send: "Helol\x7f\x7flo\r" },
      { wait: "9, 8 cached]", send: "\x1b[200~one\ntwo\x1b[201~\r" },
      { wait: "9, 8 cached]", send: "three\\\r" },
      { wait: "\x1b[2m. \x1b[22m", send: "four\r" },
      { wait: "9, 8 cached]", send: "endless\r" },
      { wait: "said", send: "\x03" },
      { wait: "[stopped; ", send: "rubbish\x03" },
      { wait: PROMPT, send: "" },
      { wait: PROMPT, send: "\x1b[A\x1b[A\r" },
      { wait: "9, 8 cached]", send: "\x04" },
    ]);
    assertEquals(code, 0, output);
    assertEquals(server.asked, ["Hello", "one\ntwo", "three\nfour", "endless", "four"]);
    assertEquals(server.numLeft, 1);
    // Bold for the stars, and nothing that the server sent for the terminal.
    assertStringIncludes(output, "\x1b[1m1\x1b[22m said[2J.");
    assert(!output.includes("\x1b[2J"), JSON.stringify(output));
  },
});

Deno.test({
  name: "a chat in a narrow terminal without colours shows plain text",
  ignore: whyNoTerminal !== undefined,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    await using server = new CountingServer();
    const { code, output } = await runInTerminal(["chat", "--url", server.url], [
      { wait: "> ", send: "a message longer than the terminal is wide\r" },
      { wait: "9, 8 cached]", send: "/exit\r" },
    ], { columns: 20, env: { NO_COLOR: "1" } });
    assertEquals(code, 0, output);
    assertEquals(server.asked, ["a message longer than the terminal is wide"]);
    assertStringIncludes(output, "**1** said[2J.");
    // deno-lint-ignore no-control-regex -- colours are what must be absent
    assert(!/\x1b\[\d+m/.test(output), JSON.stringify(output));
  },
});

Deno.test({
  name: "no command asks for a permission at the terminal: each says the flag it lacks",
  ignore: whyNoTerminal !== undefined,
  async fn() {
    const lacking = [
      [["serve"], "--allow-net=127.0.0.1:8000 --allow-read="],
      [["chat", "--url", "h:1"], "--allow-net=h:1"],
      [["doctor"], "--allow-net=127.0.0.1:8000"],
      [["models"], "--allow-env="],
    ] as const;
    const runs = lacking.map(async ([args, flag]) => {
      const env = { NO_COLOR: "1", DENO_WEBGPU_BACKEND: "noop" };
      const { code, output } = await runInTerminal(args, [], { env, permissions: [] });
      assertEquals(code, 1, output);
      assertStringIncludes(output, flag);
      assert(!output.includes("[y/n"), output);
    });
    await Promise.all(runs);
  },
});
