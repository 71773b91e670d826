import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import OpenAI from "openai";
import { exchange } from "../support/raw_http.ts";
import { freePort, runMain, ServerProcess } from "../support/server_process.ts";

const CPU = ["--device", "cpu"];
const unsanitized = { sanitizeOps: false, sanitizeResources: false };

Deno.test("a server that others reach does not start without a key", async () => {
  for (const host of ["0.0.0.0", "::", "0"]) {
    const { code, stderr } = await runMain(["serve", "--host", host, "--port", "0", ...CPU]);
    assertEquals(code, 1, stderr);
    for (const word of ["error: ", "--api-key", "--allow-public", "--host 127.0.0.1"]) {
      assertStringIncludes(stderr, word);
    }
    assert(!/\n\s+at /.test(stderr), `a stack trace: ${stderr}`);
  }
});

Deno.test({
  name: "with a key it listens everywhere, says so, and shows where the key goes",
  ...unsanitized,
  async fn() {
    const server = await ServerProcess.start(["--host", "0.0.0.0", "--api-key", "k", ...CPU]);
    assertStringIncludes(server.output, "http://0.0.0.0:");
    assertStringIncludes(server.output, "(every address of this machine)");
    assertStringIncludes(server.output, "-H 'authorization: Bearer YOUR_API_KEY'");
    assert(!server.output.includes("Bearer k"), "the key is shown");
    const port = Number(new URL(server.url).port);
    const ask = (host: string, key: string) =>
      exchange(
        port,
        `GET /v1/models HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nx-api-key: ${key}\r\n\r\n`,
      );
    assertEquals((await ask("gpu.example", "k")).status, 200);
    assertEquals((await ask("gpu.example", "x")).status, 401);
    assertEquals((await ask("a\\health?", "x")).status, 400);
    await server.stop();
  },
});

Deno.test({
  name: "any spelling of loopback is a private address",
  ...unsanitized,
  async fn() {
    const server = await ServerProcess.start(["--host", "127.1", ...CPU]);
    assertEquals((await server.fetch("/health")).status, 200);
    await server.stop();
  },
});

Deno.test({
  name: "deno serve on all addresses refuses every request without a key, with that sentence",
  ...unsanitized,
  async fn() {
    const port = freePort();
    const ready = /(error: The server listens)/;
    const server = await ServerProcess.startByDenoServe(port, CPU, { host: "0.0.0.0", ready });
    for (const path of ["/health", "/v1/models", "/admin/kv/check"]) {
      const response = await fetch(`http://127.0.0.1:${port}${path}`);
      assertEquals(response.status, 503, path);
      assertStringIncludes((await response.json()).error.message, "--allow-public");
    }
    assertStringIncludes(server.output, "error: The server listens on 0.0.0.0");
    server.signal("SIGTERM");
    await server.exitCode();
  },
});

Deno.test({
  name: "more idle connections than file descriptors neither end the server nor shut others out",
  // Windows has no limit on descriptors to start a process with.
  ignore: Deno.build.os === "windows",
  ...unsanitized,
  async fn() {
    const server = await ServerProcess.startWithDescriptors(200, CPU);
    assertStringIncludes(server.output, "--max-connections");
    const port = Number(new URL(server.url).port);
    const idle: Deno.TcpConn[] = [];
    for (let i = 0; i < 600; i++) {
      idle.push(await Deno.connect({ hostname: "127.0.0.1", port }));
      if (i % 100 === 0) assertEquals((await server.fetch("/health")).status, 200);
    }
    const body = { prompt: "Once upon a time", max_tokens: 4 };
    assertEquals((await server.post("/v1/completions", body)).status, 200);
    for (const conn of idle) conn.close();
    assertEquals((await server.fetch("/health")).status, 200);
    await server.stop();
  },
});

Deno.test({
  name: "keys with limits: refused beyond them, told how long, and the other key goes on",
  ...unsanitized,
  async fn() {
    const server = await ServerProcess.start([
      ...CPU,
      "--api-key",
      "k1 name=alice tokens-per-minute=20",
      "--api-key",
      "k2",
      "--api-key",
      "k3 name=bob max-requests=1",
      "--metrics-access",
      "open",
    ]);
    try {
      const messages = [{ role: "user", content: "Hello!" }];
      const ask = (key: string) => {
        const headers = { "authorization": `Bearer ${key}`, "content-type": "application/json" };
        const body = JSON.stringify({ messages });
        return server.fetch("/v1/chat/completions", { method: "POST", headers, body });
      };
      assertEquals((await ask("k1")).status, 200);
      const refused = await ask("k1");
      assertEquals(refused.status, 429);
      assert(Number(refused.headers.get("retry-after")) > 1);
      assertStringIncludes((await refused.json()).error.message, "The key alice");
      assertEquals((await ask("k2")).status, 200);
      await assertRetried(server, "k3");
      await server.idle();
      assert(!server.output.includes("k1"), "a key is shown");
    } finally {
      await server.stop();
    }
  },
});

/** OpenAI's client is refused while the key's one request runs, and asks again by itself. */
async function assertRetried(server: ServerProcess, apiKey: string): Promise<void> {
  const running = new AbortController();
  const statuses: number[] = [];
  const client = new OpenAI({
    apiKey,
    baseURL: `${server.url}/v1`,
    fetch: async (...request: Parameters<typeof fetch>) => {
      const response = await fetch(...request);
      statuses.push(response.status);
      if (response.status === 429) running.abort();
      return response;
    },
  });
  const model = "quire-demo";
  const endless = {
    model,
    prompt: "Once",
    max_tokens: 2000,
    ignore_eos: true,
    stream: true,
  } as const;
  const stream = await client.completions.create(endless, { signal: running.signal });
  const { choices } = await client.completions.create({ model, prompt: "Once", max_tokens: 2 });
  assert(choices[0]!.text.length > 0);
  assertEquals([statuses[0], statuses[1], statuses.at(-1)], [200, 429, 200]);
  for await (const _ of stream) { /* What came before it was aborted. */ }
}
