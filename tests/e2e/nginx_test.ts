import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { exchange, send } from "../support/raw_http.ts";
import { freePort, ServerProcess } from "../support/server_process.ts";

const CONFIG = new URL("../../src/server/proxy/nginx.conf", import.meta.url);
const HAS_NGINX = await hasNginx();
if (!HAS_NGINX) {
  // deno-lint-ignore no-console -- the reason why a test is skipped
  console.log("no nginx: apt-get install nginx-light; its configuration is not tested");
}

async function hasNginx(): Promise<boolean> {
  try {
    return (await new Deno.Command("nginx", { args: ["-v"], stderr: "null" }).output()).success;
  } catch {
    return false;
  }
}

/** nginx with Quire's configuration, its places changed to ones that a test may use. */
async function startNginx(upstream: number) {
  const dir = await Deno.makeTempDir();
  const port = freePort();
  const changes: [RegExp, string][] = [
    [/pid .*;/, `pid ${dir}/pid; daemon off; user root;`],
    [/error_log .*;/, `error_log ${dir}/error.log warn;`],
    [
      /access_log off;/,
      `access_log off; client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy;`,
    ],
    [/server 127\.0\.0\.1:8000;/, `server 127.0.0.1:${upstream};`],
    [/listen 443 ssl;/, `listen 127.0.0.1:${port};`],
    [/ssl_certificate .*\n/, "\n"],
    [/ssl_certificate_key .*\n/, "\n"],
  ];
  let config = await Deno.readTextFile(CONFIG);
  for (const [pattern, text] of changes) {
    assert(pattern.test(config), `nginx.conf has no ${pattern}`);
    config = config.replace(pattern, text);
  }
  await Deno.writeTextFile(`${dir}/nginx.conf`, config);
  const child = new Deno.Command("nginx", {
    args: ["-c", `${dir}/nginx.conf`, "-p", dir],
    stdout: "null",
    stderr: "null",
  }).spawn();
  for (
    let i = 0;
    (await exchange(port, "GET / HTTP/1.0\r\n\r\n").catch(() => undefined)) === undefined;
    i++
  ) {
    assert(i < 200, "nginx does not start");
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  return {
    port,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await child.status;
      await Deno.remove(dir, { recursive: true });
    },
  };
}

Deno.test({
  name:
    "nginx's configuration streams, holds back what is unfinished, and keeps admins' routes inside",
  ignore: !HAS_NGINX,
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const upstream = freePort();
    const server = await ServerProcess.startByDenoServe(upstream, ["--device", "cpu"]);
    try {
      await using nginx = await startNginx(upstream);
      const url = `http://127.0.0.1:${nginx.port}`;
      await streamsAsItComes(url);
      for (const path of ["/admin/kv/check", "/kv/events", "/metrics", "/reset_prefix_cache"]) {
        assertEquals((await fetch(`${url}${path}`)).status, 404, path);
      }
      await survivesHoarders(nginx.port, url);
    } finally {
      server.signal("SIGTERM");
      await server.exitCode();
    }
  },
});

/** The first event comes while later ones are still to be computed. */
async function streamsAsItComes(url: string): Promise<void> {
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      prompt: "Once upon a time",
      max_tokens: 40,
      stream: true,
      ignore_eos: true,
    }),
  });
  const chunks: string[] = [];
  for await (const text of response.body!.pipeThrough(new TextDecoderStream())) chunks.push(text);
  assert(chunks.length > 5, `40 tokens came in ${chunks.length} pieces`);
  assertStringIncludes(chunks.join(""), "data: [DONE]");
}

/** Idle connections and unfinished bodies stay with nginx, and requests are answered all the while. */
async function survivesHoarders(port: number, url: string): Promise<void> {
  const hoard: Deno.TcpConn[] = [];
  const post = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" +
    "Content-Length: 1000\r\n\r\n{";
  for (let i = 0; i < 300; i++) {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    if (i % 10 === 0) await send(conn, post);
    hoard.push(conn);
  }
  assertEquals((await fetch(`${url}/health`)).status, 200);
  assertEquals((await fetch(`${url}/v1/models`)).status, 200);
  for (const conn of hoard) conn.close();
  // One address may have 64 requests under way; more are told so.
  const statuses = await Promise.all(
    Array.from(
      { length: 100 },
      () => fetch(`${url}/v1/completions`, { method: "POST", body: "{" }),
    ),
  );
  assert(statuses.every(({ status }) => status === 415 || status === 429));
  for (const { body } of statuses) await body?.cancel();
}
