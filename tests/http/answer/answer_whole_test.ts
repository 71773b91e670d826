import { assertEquals } from "@std/assert";
import { CHAT, listen, testServer } from "../server.ts";

const PATH = "/v1/chat/completions";

/** Two ways of framing a body; the second is read whole before a route sees it. */
const FRAMINGS: Record<string, (body: string) => string> = {
  announced: (body) => `Content-Length: ${body.length}\r\n\r\n${body}`,
  chunked: (body) =>
    `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
};

/** Sends a request over a socket of its own and leaves the answer to the caller. */
async function send(port: number, framed: string): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({ port, hostname: "127.0.0.1" });
  const head = `POST ${PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`;
  await conn.write(new TextEncoder().encode(head + framed));
  return conn;
}

/** Waits until the server has handed a request to the engine. */
async function submitted(server: ReturnType<typeof testServer>): Promise<void> {
  while (server.engine.requests.length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

Deno.test("answerInOnePiece() aborts the generation when the client's socket closes", async () => {
  for (const frame of Object.values(FRAMINGS)) {
    const server = testServer();
    server.engine.isManual = true;
    await using listening = await listen(server);
    const conn = await send(listening.port, frame(JSON.stringify({ ...CHAT, n: 2 })));
    await submitted(server);
    server.engine.run.step();
    conn.close();
    await server.engine.run.ended;
    assertEquals([...server.engine.run.aborted], [0, 1]);
  }
});

Deno.test("answerInOnePiece() aborts nothing after a normal answer", async () => {
  const server = testServer();
  await using listening = await listen(server);
  const response = await fetch(listening.url + PATH, {
    method: "POST",
    body: JSON.stringify(CHAT),
    headers: { "content-type": "application/json" },
  });
  assertEquals((await response.json()).choices[0].message.content, "Hello");
  await server.engine.run.ended;
  await fetch(`${listening.url}/health`).then((health) => health.text());
  assertEquals([...server.engine.run.aborted], []);
});

Deno.test("answerInOnePiece() answers an engine failure with its status and aborts the rest", async () => {
  const server = testServer();
  const error = { status: 500, type: "server_error", code: "oom", message: "No room", param: null };
  server.engine.override = (event, outputIndex) =>
    event.index === 1 && outputIndex === 2
      ? { requestId: event.requestId, index: 1, finishReason: "error", error }
      : event;
  const response = await server.post(PATH, { ...CHAT, n: 2 });
  assertEquals([response.status, (await response.json()).error.code], [500, "oom"]);
  await server.engine.run.ended;
  assertEquals(server.engine.run.aborted.has(0), true);
  assertEquals(server.log.find(({ message }) => message === "generation")?.status, 500);
});

Deno.test("answerInOnePiece() logs a client that left as 499", async () => {
  const server = testServer();
  server.engine.isManual = true;
  const abort = new AbortController();
  const pending = server.request(PATH, {
    method: "POST",
    body: JSON.stringify(CHAT),
    headers: { "content-type": "application/json" },
    signal: abort.signal,
  });
  await submitted(server);
  abort.abort();
  await pending;
  const line = server.log.find(({ message }) => message === "generation");
  assertEquals([line?.status, line?.finish], [499, "abort"]);
});

Deno.test("answerInOnePiece() logs no failure of an answer that its client has left", async () => {
  const server = testServer();
  server.engine.isManual = true;
  const abort = new AbortController();
  const pending = server.request("/v1/messages", {
    method: "POST",
    body: JSON.stringify({ ...CHAT, model: "alias", max_tokens: 8 }),
    headers: { "content-type": "application/json" },
    signal: abort.signal,
  });
  await submitted(server);
  abort.abort();
  await pending;
  const lines = server.log.filter(({ message }) => /^generation/.test(String(message)));
  assertEquals(lines.map(({ message, status }) => [message, status]), [["generation", 499]]);
});
