import { assert, assertEquals, assertRejects } from "@std/assert";
import { RequestError } from "../../../src/core/errors.ts";
import { type BodyLimits, RequestBodies } from "../../../src/http/body/request_body.ts";
import { testServer } from "../server.ts";

const LIMITS: BodyLimits = {
  maxBodyBytes: 1000,
  maxUnfinishedBytes: 1e6,
  maxJsonCost: 1000,
  bodyTimeoutMs: 60_000,
};

/** A body that a test sends piece by piece. */
function openBody() {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const stream = new ReadableStream<Uint8Array>({ start: (c) => void (controller = c) });
  return {
    stream,
    send: (numBytes: number) => controller.enqueue(new Uint8Array(numBytes).fill(97)),
    end: () => controller.close(),
    breakOff: () => controller.error(new Error("connection reset")),
  };
}

async function refusalOf(reading: Promise<unknown>) {
  const { data } = await assertRejects(() => reading, RequestError);
  return [data.status, data.code];
}

/** Lets pending reads go on. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

Deno.test("RequestBodies.read() joins the pieces of a body", async () => {
  const bodies = new RequestBodies(LIMITS);
  const body = openBody();
  const reading = bodies.read(body.stream, 0);
  for (const size of [1, 999]) body.send(size);
  body.end();
  assertEquals(await reading, new Uint8Array(1000).fill(97));
  assertEquals(await bodies.read(null, 0), new Uint8Array());
  assertEquals(bodies.numBytes, 0);
});

Deno.test("RequestBodies.read() refuses what is too large by its header, or as it comes", async () => {
  const bodies = new RequestBodies(LIMITS);
  assertEquals(await refusalOf(bodies.read(openBody().stream, 1001)), [413, "request_too_large"]);
  const body = openBody();
  const reading = bodies.read(body.stream, 0);
  reading.catch(() => {});
  body.send(1000);
  body.send(1);
  assertEquals(await refusalOf(reading), [413, "request_too_large"]);
  assertEquals(bodies.numBytes, 0);
});

Deno.test("RequestBodies.read() gives up a body that does not come, and one that breaks off", async () => {
  const bodies = new RequestBodies({ ...LIMITS, bodyTimeoutMs: 20 });
  const slow = openBody();
  const reading = bodies.read(slow.stream, 0);
  reading.catch(() => {});
  slow.send(10);
  assertEquals(await refusalOf(reading), [408, "request_timeout"]);
  const broken = openBody();
  const breaking = bodies.read(broken.stream, 0);
  breaking.catch(() => {});
  broken.send(10);
  await turn();
  broken.breakOff();
  assertEquals(await refusalOf(breaking), [400, "invalid_body"]);
  assertEquals(bodies.numBytes, 0);
});

Deno.test("of too many unfinished bytes the largest body is given up, and small ones go on", async () => {
  const maxUnfinishedBytes = 200_000;
  const bodies = new RequestBodies({ ...LIMITS, maxBodyBytes: 1e6, maxUnfinishedBytes });
  const hoard = Array.from({ length: 150 }, openBody);
  const hoarding = hoard.map(({ stream }) => bodies.read(stream, 0));
  const ended = hoarding.map((reading) => reading.then(() => "read", ({ data }) => data.code));
  for (const { send } of hoard) {
    send(90_000);
    await turn();
    assert(bodies.numBytes <= maxUnfinishedBytes, `${bodies.numBytes} bytes are held`);
  }
  const small = openBody();
  const reading = bodies.read(small.stream, 0);
  small.send(500);
  await turn();
  small.end();
  assertEquals((await reading).byteLength, 500);
  for (const { end } of hoard) {
    try {
      end();
    } catch {
      // Given up already.
    }
  }
  const codes = await Promise.all(ended);
  assertEquals(codes.filter((code) => code === "read").length, 2);
  assertEquals(codes.filter((code) => code === "bodies_exceeded").length, 148);
  assertEquals(bodies.numBytes, 0);
});

Deno.test("many small chunks weigh no more than their bytes", async () => {
  const bodies = new RequestBodies({ ...LIMITS, maxBodyBytes: 1e6 });
  const body = openBody();
  const reading = bodies.read(body.stream, 0);
  for (let i = 0; i < 50_000; i++) body.send(1);
  while (bodies.numBytes < 50_000) await turn();
  assert(bodies.numBytes <= 2 * 65_536, `${bodies.numBytes} bytes for 50,000`);
  body.end();
  assertEquals((await reading).byteLength, 50_000);
});

Deno.test("a body that breaks off is the client's mistake, and no stack in the log", async () => {
  const server = testServer();
  const body = openBody();
  const asking = server.request("/v1/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: body.stream,
  });
  body.send(5);
  await turn();
  body.breakOff();
  const response = await asking;
  assertEquals([response.status, (await response.json()).error.code], [400, "invalid_body"]);
  assertEquals(server.log.filter(({ level }) => level === "error"), []);
});

Deno.test("a body of more values than may be parsed is refused as it comes", async () => {
  const server = testServer();
  const ask = async (body: string) => {
    const headers = { "content-type": "application/json" };
    const response = await server.request("/v1/completions", { method: "POST", headers, body });
    return [response.status, (await response.json()).error.code];
  };
  const limits = { ...server.services.limits, maxBodyBytes: 8e6 };
  const large = testServer({ limits });
  for (const value of ["1", "{}", "[]", '"a"', '{"a":1}']) {
    const body = `{"prompt":[${Array(700_000).fill(value).join()}]}`;
    const response = await large.post("/v1/completions", JSON.parse('{"prompt":"a"}'));
    assertEquals(response.status, 200);
    await response.body?.cancel();
    const refused = await large.request("/v1/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    assertEquals([refused.status, (await refused.json()).error.code], [413, "request_too_large"]);
  }
  // Inside of a string nothing counts, whatever it looks like.
  assertEquals(await ask(`{"prompt":"${'\\\\[{,:\\"'.repeat(8000)}"}`), [
    400,
    "context_length_exceeded",
  ]);
});
