import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { readAll, send } from "../support/raw_http.ts";
import { ServerProcess } from "../support/server_process.ts";

/** Half of them without a key, half with one; the other fuzzers do not use sockets. */
const NUM_REQUESTS = 20_000;
const NUM_CLIENTS = 8;

/** What may come back: never a 5xx, but for an engine that says that it is full. */
const STATUSES = new Set([200, 204, 302, 400, 401, 403, 404, 405, 408, 413, 415, 417, 429, 431]);

const PATHS = [
  "/v1/chat/completions",
  "/v1/completions",
  "/v1/responses",
  "/v1/messages",
  "/v1/messages/count_tokens",
  "/api/chat",
  "/api/generate",
  "/api/tags",
  "/props",
  "/slots",
  "/tokenize",
  "/detokenize",
  "/v1/models",
  "/v1/models/x",
  "/metrics",
  "/version",
  "/admin/kv/check",
  "/admin/kv/log?from=0",
  "/admin/kv/plan?memory=1GiB",
  "/admin/kv/pins",
  "/reset_prefix_cache",
  "/nothing",
];

const BODIES = [
  '{"prompt": "Once", "max_tokens": 1}',
  '{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}',
  '{"model": "quire-demo", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}',
  '{"input": "Hi", "max_output_tokens": 1, "stream": true}',
  '{"prompt": ["a", [1, 2]], "n": 2, "max_tokens": 1, "stream": true}',
  '{"prompt": "a", "temperature": 1e-40, "max_tokens": 1}',
  '{"tokens": [1, 2, 3]}',
  '{"prompt": "\\ud800", "logit_bias": {"1": 1e300}}',
  '{"prompt": 5, "max_tokens": -1}',
  "[[[[[[[[",
  "null",
  "",
];

interface RawRequest {
  readonly text: string;
  /** Places at which the bytes are sent in two writes. */
  readonly cutAt: number;
}

const header = fc.constantFrom(
  "Content-Type: application/json",
  "Content-Type: text/plain",
  "Transfer-Encoding: chunked",
  "Transfer-Encoding: gzip",
  "Content-Encoding: gzip",
  "Content-Encoding: br",
  "Content-Encoding: zstd",
  "Content-Length: 0",
  "Content-Length: 5",
  "Content-Length: 99999999999",
  "Content-Length: -1",
  "Connection: close",
  "Connection: keep-alive",
  "Connection: upgrade\r\nUpgrade: websocket",
  "Expect: 100-continue",
  "Expect: something",
  "Origin: https://evil.example",
  "Authorization: Bearer wrong",
  "Authorization: Basic a2V5",
  "x-api-key: ",
  "X-Forwarded-Host: localhost",
  "Cookie: a=b",
  "Host: other",
  ": nameless",
  "No colon here",
  " folded",
  `X-Long: ${"x".repeat(20_000)}`,
);

const requests: fc.Arbitrary<(key: string) => RawRequest> = fc.record({
  method: fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom("POST", "GET") },
    fc.constantFrom("HEAD", "OPTIONS", "DELETE", "PUT", "TRACE", "CONNECT", "get", "PRI", ""),
  ),
  path: fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...PATHS) },
    fc.constantFrom(
      "*",
      "//v1/models",
      "/v1/%2e%2e/health",
      "http://a\\health?/version",
      "/\\",
      "x",
    ),
    fc.string({ maxLength: 20 }),
  ),
  version: fc.oneof(
    { weight: 15, arbitrary: fc.constant("HTTP/1.1") },
    fc.constantFrom("HTTP/1.0", "HTTP/2.0", "HTTP/1.1 x", ""),
  ),
  host: fc.oneof(
    { weight: 15, arbitrary: fc.constant("localhost") },
    fc.constantFrom("a\\health?", "127.0.0.1:99999", "evil.example", "", "[::1]:1"),
  ),
  headers: fc.array(header, { maxLength: 2 }),
  body: fc.constantFrom(...BODIES),
  isChunked: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, fc.constant(true)),
  /** Bytes changed, at places counted from the start. */
  damage: fc.oneof(
    { weight: 6, arbitrary: fc.constant<[number, number][]>([]) },
    fc.array(fc.tuple(fc.nat({ max: 400 }), fc.nat({ max: 255 })), { maxLength: 3 }),
  ),
  /** Bytes left out at the end. */
  cut: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, fc.nat({ max: 200 })),
  /** Sent after the request. */
  tail: fc.oneof(
    { weight: 9, arbitrary: fc.constant("") },
    fc.constantFrom("\r\n\r\n", "garbage", "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"),
  ),
  cutAt: fc.nat({ max: 300 }),
}).map((parts) => (key: string) => toRequest(parts, key));

function toRequest(
  { method, path, version, host, headers, body, isChunked, damage, cut, tail, cutAt }: {
    method: string;
    path: string;
    version: string;
    host: string;
    headers: string[];
    body: string;
    isChunked: boolean;
    damage: [number, number][];
    cut: number;
    tail: string;
    cutAt: number;
  },
  key: string,
): RawRequest {
  const framing = isChunked
    ? ["Transfer-Encoding: chunked"]
    : [`Content-Length: ${new TextEncoder().encode(body).length}`];
  const lines = [
    `${method} ${path} ${version}`,
    `Host: ${host}`,
    "Content-Type: application/json",
    ...key === "" ? [] : [`x-api-key: ${key}`],
    ...method === "GET" ? [] : framing,
    ...headers,
  ];
  const sent = isChunked ? `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n` : body;
  const whole = `${lines.join("\r\n")}\r\n\r\n${method === "GET" ? "" : sent}`;
  const rest = whole.slice(0, whole.length - cut);
  return { text: (damage.length === 0 ? rest : damaged(rest, damage)) + tail, cutAt };
}

/** The text with other characters at these places: a request without a key stays without one. */
function damaged(text: string, damage: readonly (readonly [at: number, byte: number])[]): string {
  const characters = [...text];
  for (const [at, byte] of damage) {
    if (at < characters.length) characters[at] = String.fromCharCode(byte);
  }
  return characters.join("");
}

/** Sends a request, closes the sending side and returns what comes back. */
async function ask(port: number, { text, cutAt }: RawRequest): Promise<string> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  let isSilent = false;
  const timer = setTimeout(() => {
    isSilent = true;
    conn.close();
  }, 30_000);
  try {
    await send(conn, text.slice(0, cutAt));
    await send(conn, text.slice(cutAt));
    await conn.closeWrite();
  } catch {
    // The server has closed already; what it said comes next.
  }
  const answer = await readAll(conn);
  clearTimeout(timer);
  assert(!isSilent, `no end of the answer to ${JSON.stringify(text)}`);
  conn.close();
  return answer;
}

async function residentMiB(pid: number): Promise<number> {
  const text = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/VmRSS:\s+(\d+) kB/.exec(text)![1]) / 1024;
}

Deno.test({
  name: "20,000 raw requests: no 5xx, no hang, no way past the key, no growth",
  // The memory of another process is read in /proc.
  ignore: Deno.build.os !== "linux",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const keys = ["--api-key", "key", "--admin-key", "admin"];
    const server = await ServerProcess.start(["--device", "cpu", ...keys]);
    const port = Number(new URL(server.url).port);
    const samples = fc.sample(requests, { seed: 41, numRuns: NUM_REQUESTS });
    const seen = new Map<number, number>();
    const sizes: number[] = [];
    let next = 0;

    function check(answer: string, request: RawRequest, key: string): void {
      for (const [, code] of answer.matchAll(/^HTTP\/1\.[01] (\d{3}) /gm)) {
        const status = Number(code);
        if (status === 100) continue;
        seen.set(status, (seen.get(status) ?? 0) + 1);
        assert(STATUSES.has(status), `${status} to ${JSON.stringify(request.text)}: ${answer}`);
      }
      assert(!/\.ts:\d|node_modules|\n\s+at /.test(answer), `a stack trace: ${answer}`);
      if (key !== "") return;
      // Without a key /health and preflights are all that is answered.
      const opened = answer.match(
        /"object":|"tokens":|"input_tokens":|"models":|"n_ctx"|"done"|"choices"|vllm:|"blocks"|"version"/,
      );
      assertEquals(opened, null, `${JSON.stringify(request.text)} opened ${answer}`);
    }

    await Promise.all(Array.from({ length: NUM_CLIENTS }, async () => {
      while (next < samples.length) {
        const i = next++;
        if (i % 2000 === 0) sizes.push(await residentMiB(server.pid));
        const key = i % 2 === 0 ? "" : i % 20 === 1 ? "admin" : "key";
        const request = samples[i]!(key);
        check(await ask(port, request), request, key);
      }
    }));

    for (const status of [200, 400, 401, 403, 404, 405, 415, 431]) {
      assert((seen.get(status) ?? 0) > 20, `${status} came ${seen.get(status) ?? 0} times`);
    }
    const settled = sizes[4]!;
    const last = await residentMiB(server.pid);
    assert(last < settled + 64, `grew from ${settled} to ${last} MiB: ${sizes.map(Math.round)}`);
    const headers = { "x-api-key": "admin" };
    assertEquals((await server.fetch("/health")).status, 200);
    assertEquals((await server.fetch("/admin/kv/check", { headers })).status, 200);
    assert(
      !/\n\s+at /.test(server.output),
      `a stack trace in the log: ${server.output.slice(-4000)}`,
    );
    await server.stop();
  },
});
