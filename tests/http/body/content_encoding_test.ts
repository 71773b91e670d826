import { brotliCompressSync, constants, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { RequestError } from "../../../src/core/errors.ts";
import { RequestBodies } from "../../../src/http/body/request_body.ts";
import { runs } from "../../support/runs.ts";
import { withoutTraces } from "../../support/without_traces.ts";
import { CHAT, listen, listenByDeno, testServer } from "../server.ts";

const PATH = "/v1/chat/completions";
const FAST = { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } };

/** Each coding, as others write it. */
const PACKERS: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array>> = {
  gzip: gzipSync,
  "x-gzip": gzipSync,
  deflate: deflateSync,
  br: (bytes) => brotliCompressSync(bytes, FAST),
  zstd: zstdCompressSync,
};

function bytesOf(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** Sends bytes under a coding; in pieces where `size` says how large. */
function send(server: ReturnType<typeof testServer>, coding: string, body: Uint8Array, size = 0) {
  const pieces = size === 0 ? body : ReadableStream.from(
    (function* () {
      for (let at = 0; at < body.length; at += size) yield body.slice(at, at + size);
    })(),
  );
  return server.request(PATH, {
    method: "POST",
    headers: { "content-type": "application/json", "content-encoding": coding },
    body: pieces as BodyInit,
  });
}

Deno.test("packed bodies are read under each coding, in one piece and in small ones", async () => {
  const server = testServer();
  const plain = await (await server.post(PATH, CHAT)).json();
  for (const [coding, pack] of Object.entries({ ...PACKERS, identity: (b: Uint8Array) => b })) {
    for (const size of [0, 7]) {
      const response = await send(server, coding.toUpperCase(), pack(bytesOf(CHAT)), size);
      assertEquals(response.status, 200, coding);
      assertEquals((await response.json()).choices, plain.choices);
    }
  }
});

for (const [name, open] of [["node:http", listen], ["Deno.serve", listenByDeno]] as const) {
  Deno.test(`packed bodies and bombs come over sockets as well (${name})`, async () => {
    const server = testServer();
    await using listening = await open(server);
    const bomb = new Uint8Array(16 * 2 ** 20).fill(32);
    for (const [coding, pack] of Object.entries(PACKERS)) {
      for (const [content, status] of [[bytesOf(CHAT), 200], [bomb, 413]] as const) {
        const response = await fetch(`${listening.url}${PATH}`, {
          method: "POST",
          headers: { "content-type": "application/json", "content-encoding": coding },
          body: pack(content) as BodyInit,
        });
        assertEquals(response.status, status, coding);
        await response.text();
      }
    }
    const health = await fetch(`${listening.url}/health`);
    assertEquals([health.status, (await health.json()).status], [200, "ok"]);
  });
}

Deno.test("an unknown coding is a 415 that lists those that are read", async () => {
  const server = testServer();
  for (const coding of ["compress", "gzip, br", "constructor", "\u00e9"]) {
    const response = await send(server, coding, bytesOf(CHAT));
    assertEquals(response.status, 415, coding);
    assertEquals(response.headers.get("accept-encoding"), "gzip, deflate, br, zstd");
    assertEquals((await response.json()).error.code, "unsupported_content_encoding");
  }
});

Deno.test("a body that is not what its header says is a 400 that names the coding", async () => {
  const server = testServer();
  for (const [coding, pack] of Object.entries(PACKERS)) {
    for (const body of [bytesOf(CHAT), pack(bytesOf(CHAT)).slice(0, 12)]) {
      const response = await send(server, coding, body);
      assertEquals(response.status, 400, coding);
      const { error } = await response.json();
      assert(["invalid_body", "invalid_json"].includes(error.code), error.code);
      if (error.code === "invalid_body") assertStringIncludes(error.message, coding);
    }
  }
});

Deno.test("a bomb is refused with the limit, and unpacked no further than that", async () => {
  const server = testServer();
  const { maxBodyBytes } = server.services.limits;
  // 64 MiB of one character, some codings more than once: few bytes that become very many.
  const bomb = new Uint8Array(64 * 2 ** 20).fill(32);
  for (const [coding, pack] of Object.entries(PACKERS)) {
    const packed = pack(bomb);
    assert(packed.length < maxBodyBytes, `${coding} has ${packed.length}`);
    for (const size of [0, 500]) {
      const response = await send(server, coding, packed, size);
      assertEquals(response.status, 413, coding);
      const { error } = await response.json();
      assertEquals(error.code, "request_too_large");
      assertStringIncludes(error.message, `${maxBodyBytes} bytes when its ${coding} is unpacked`);
    }
  }
  // Below the limit of bytes, the values in it are counted.
  const values = new TextEncoder().encode(`{"prompt":[${"[],".repeat(30_000)}1]}`);
  const limits = { ...server.services.limits, maxJsonCost: 1000 };
  const strict = testServer({ limits });
  const response = await send(strict, "br", PACKERS.br!(values));
  assertEquals(response.status, 413);
  assertStringIncludes((await response.json()).error.message, "too many values");
});

/** Packed bodies, good ones, bombs and others, with bytes changed, cut off and put behind. */
function fuzzed(pack: (bytes: Uint8Array) => Uint8Array, maxBodyBytes: number) {
  const contents = [
    bytesOf(CHAT),
    new Uint8Array(maxBodyBytes + 1).fill(91),
    ...fc.sample(fc.uint8Array({ maxLength: 300 }), { seed: 5, numRuns: 6 }),
  ];
  const bodies = [...contents.map((content) => pack(content)), ...contents.slice(2)];
  return fc.record({
    body: fc.oneof(fc.constant(bodies[0]!), fc.constantFrom(...bodies)),
    /** Bytes to change, as offsets and values. */
    flips: fc.array(fc.tuple(fc.nat({ max: 200 }), fc.nat({ max: 255 })), { maxLength: 3 }),
    cut: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat({ max: 80 })),
    tail: fc.oneof({ weight: 3, arbitrary: fc.constant(new Uint8Array()) }, fc.uint8Array()),
  }).map(({ body, flips, cut, tail }) => {
    const bytes = Uint8Array.from([...body.subarray(0, body.length - cut), ...tail]);
    for (const [at, value] of flips) if (at < bytes.length) bytes[at] = value;
    return bytes;
  });
}

const { "x-gzip": _, ...CODINGS } = PACKERS;
const LIMITS = { ...testServer().services.limits, maxBodyBytes: 20_000 };

for (const [coding, pack] of Object.entries(CODINGS)) {
  Deno.test(`fuzzed bodies of ${coding} are unpacked or refused, and leave nothing behind`, async () => {
    const bodies = new RequestBodies(LIMITS);
    const seen = new Set<number>();
    const property = fc.asyncProperty(fuzzed(pack, LIMITS.maxBodyBytes), async (bytes) => {
      try {
        const stream = ReadableStream.from([bytes]);
        const read = await withoutTraces(() => bodies.read(stream, bytes.length, coding));
        assert(read.length <= LIMITS.maxBodyBytes);
        seen.add(200);
      } catch (error) {
        assert(error instanceof RequestError, String(error));
        seen.add(error.data.status);
      }
      assertEquals(bodies.numBytes, 0);
    });
    await fc.assert(property, { seed: 31, numRuns: runs(10_000) });
    assertEquals([...seen].sort(), [200, 400, 413]);
  });
}

Deno.test("fuzzed bodies of each coding are answered or refused, never with a failure", async () => {
  const server = testServer({ limits: LIMITS });
  for (const [coding, pack] of Object.entries(CODINGS)) {
    const seen = new Set<number>();
    const bytes = fuzzed(pack, LIMITS.maxBodyBytes);
    const property = fc.asyncProperty(bytes, fc.constantFrom(0, 64), async (body, size) => {
      const response = await withoutTraces(async () => await send(server, coding, body, size));
      seen.add(response.status);
      assert([200, 400, 413].includes(response.status), `${coding}: ${response.status}`);
      await response.body?.cancel();
    });
    await fc.assert(property, { seed: 31, numRuns: runs(1000) });
    assertEquals([200, 400, 413].filter((status) => !seen.has(status)), [], coding);
  }
  assertEquals(server.log.filter(({ level }) => level === "error"), []);
});
