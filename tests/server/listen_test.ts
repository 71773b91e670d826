import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { StartupError } from "../../src/core/errors.ts";
import { type ConnectionLimits, DEFAULT_BOUNDS, listen } from "../../src/server/listen.ts";
import { exchange, send, statusIn } from "../support/raw_http.ts";

type Handler = (request: Request) => Response | Promise<Response>;

/** Serves `handler` until disposed of. */
async function serve(handler: Handler, bounds: Partial<ConnectionLimits> = {}) {
  const door = await listen(
    { host: "127.0.0.1", port: 0 },
    handler,
    { ...DEFAULT_BOUNDS, ...bounds },
  );
  const port = Number(new URL(door.url).port);
  return { door, port, [Symbol.asyncDispose]: () => door.shutdown() };
}

const ok: Handler = () => new Response("ok");
const GET = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/** Waits for something that happens soon; fails after ten seconds. */
async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 1000 && !condition(); i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert(condition(), what);
}

function connect(port: number): Promise<Deno.TcpConn> {
  return Deno.connect({ hostname: "127.0.0.1", port });
}

Deno.test("listen() names the flag when the port is taken", async () => {
  await using first = await serve(ok);
  const error = await assertRejects(
    () => listen({ host: "127.0.0.1", port: first.port }, ok),
    StartupError,
  );
  assertStringIncludes(error.message, "is in use; choose another with --port");
});

Deno.test("idle connections beyond the limit give way, and requests are answered all the while", async () => {
  await using served = await serve(ok, { maxConnections: 10 });
  const idle: Deno.TcpConn[] = [];
  for (let i = 0; i < 100; i++) {
    idle.push(await connect(served.port));
    if (i % 10 === 0) assertEquals((await exchange(served.port, GET)).status, 200);
  }
  await until(() => served.door.numConnections() <= 10, "more connections than the limit");
  assertEquals((await exchange(served.port, GET)).status, 200);
  for (const conn of idle) conn.close();
});

Deno.test("a connection with a request under way is not closed for a new one", async () => {
  const release = Promise.withResolvers<void>();
  const slow: Handler = async () => (await release.promise, new Response("late"));
  await using served = await serve(slow, { maxConnections: 4 });
  const busy = Array.from({ length: 4 }, () => exchange(served.port, GET));
  await until(() => served.door.numConnections() === 4, "the requests have not arrived");
  // No place is left, and none is idle.
  assertEquals((await exchange(served.port, GET)).status, 0);
  release.resolve();
  assertEquals((await Promise.all(busy)).map(({ status }) => status), [200, 200, 200, 200]);
});

Deno.test("what does not arrive in time is answered with 408 and closed", async () => {
  const read: Handler = async (request) => new Response(await request.text());
  const bounds = { headersTimeoutMs: 300, requestTimeoutMs: 600 };
  await using served = await serve(read, bounds);
  const post = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345";
  for (const part of ["", "GE", "GET / HTTP/1.1\r\nHost: loc", post]) {
    const { status, text } = await exchange(served.port, part);
    assertEquals(status, 408, JSON.stringify(part));
    assertStringIncludes(text, '"code":"request_timeout"');
  }
  await until(() => served.door.numConnections() === 0, "a connection is left");
});

Deno.test("an idle connection outlives the deadline of headers, and serves again", async () => {
  await using served = await serve(ok, { headersTimeoutMs: 200, requestTimeoutMs: 400 });
  using conn = await connect(served.port);
  const keepAlive = GET.replace("Connection: close\r\n", "");
  const buffer = new Uint8Array(1024);
  for (let i = 0; i < 3; i++) {
    await send(conn, keepAlive);
    const length = await conn.read(buffer);
    assertEquals(statusIn(new TextDecoder().decode(buffer.subarray(0, length ?? 0))), 200);
    await new Promise((resolve) => setTimeout(resolve, 700));
  }
});

Deno.test("a client that closes its side after its request gets its answer", async () => {
  const slow: Handler = async (request) => {
    const body = await request.text();
    await new Promise((resolve) => setTimeout(resolve, 300));
    return new Response(`got ${body}`);
  };
  await using served = await serve(slow);
  const head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody";
  const { status, text } = await exchange(served.port, head, { halfClose: true });
  assertEquals(status, 200);
  assertStringIncludes(text, "got body");
});

Deno.test("a client that leaves is told from one that only closes its side", async () => {
  const gone: string[] = [];
  const pending: Handler = ({ url, signal }) => {
    signal.addEventListener("abort", () => gone.push(new URL(url).pathname));
    return url.endsWith("/stream") ? eventStream(signal) : new Promise(() => {});
  };
  const door = await serve(pending);
  for (const path of ["/whole", "/stream"]) {
    const conn = await connect(door.port);
    await send(conn, GET.replace("GET /", `GET ${path}`));
    await until(() => door.door.numConnections() === 1, "the request has not arrived");
    // Long enough that the request is in its handler's hands.
    await new Promise((resolve) => setTimeout(resolve, 50));
    conn.close();
    await until(() => gone.at(-1) === path, `${path} does not learn that its client has left`);
    await until(() => door.door.numConnections() === 0, "a connection is left");
  }
  await door.door.shutdown();
});

/** Headers at once, then nothing until the client has left. */
function eventStream(signal: AbortSignal): Response {
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => signal.addEventListener("abort", () => controller.close()),
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

Deno.test("a client that takes nothing of its answer is closed", async () => {
  let isCancelled = false;
  const endless: Handler = () =>
    new Response(
      new ReadableStream<Uint8Array>({
        pull: (controller) => controller.enqueue(new Uint8Array(65_536)),
        cancel: () => void (isCancelled = true),
      }),
    );
  await using served = await serve(endless, { writeTimeoutMs: 500 });
  using conn = await connect(served.port);
  await send(conn, GET);
  await until(() => served.door.numConnections() === 1, "the request has not arrived");
  await until(() => served.door.numConnections() === 0, "the stalled connection stays");
  await until(() => isCancelled, "the answer is still being made");
});

Deno.test("a body that breaks off is a 400, and what is no HTTP as well", async () => {
  const errors: unknown[] = [];
  const read: Handler = async (request) => {
    try {
      return new Response(await request.text());
    } catch (error) {
      errors.push(error);
      return new Response("broken", { status: 400 });
    }
  };
  await using served = await serve(read);
  const chunked = "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
  const broken = [
    `${chunked}5\r\nab`,
    `${chunked}zz\r\nab\r\n`,
    `${chunked}5\r\nabcde\r\n`,
    "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab",
    "no http at all\r\n\r\n",
    "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "GET / HTTP/1.1\r\nBad Header: x\r\nHost: localhost\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
  ];
  for (const request of broken) {
    const { status } = await exchange(served.port, request, { halfClose: true });
    assertEquals(status, 400, JSON.stringify(request));
  }
  const tooLong = `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${"x".repeat(70_000)}\r\n\r\n`;
  assertEquals((await exchange(served.port, tooLong)).status, 431);
  assertEquals((await exchange(served.port, GET)).status, 200);
});

Deno.test("an answer that is still to come is given before garbage that follows its request", async () => {
  const slow: Handler = async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    return new Response("whole");
  };
  await using served = await serve(slow);
  const { text } = await exchange(
    served.port,
    `${GET.replace("close", "keep-alive")}garbage\r\n\r\n`,
  );
  assertEquals(statusIn(text), 200);
  assert(text.endsWith("whole"), text);
});

Deno.test("shutdown() waits for what is being answered and takes nothing new", async () => {
  const release = Promise.withResolvers<void>();
  const served = await serve(async () => (await release.promise, new Response("late")));
  const busy = exchange(served.port, GET);
  using idle = await connect(served.port);
  await until(() => served.door.numConnections() === 2, "the request has not arrived");
  await new Promise((resolve) => setTimeout(resolve, 50));
  const closed = served.door.shutdown();
  await assertRejects(() => connect(served.port));
  release.resolve();
  assertEquals((await busy).status, 200);
  idle.close();
  await closed;
});
