import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { DEMO_DIR } from "../support/demo_engine.ts";
import { freePort, runMain, ServerProcess } from "../support/server_process.ts";

/** A copy of the demo model with some files replaced; `null` leaves one out. */
async function alteredModel(files: Record<string, Uint8Array | string | null>): Promise<string> {
  const dir = await Deno.makeTempDir();
  for (
    const name of ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
  ) {
    const content = files[name];
    if (content === null) continue;
    const bytes = content ?? await Deno.readFile(`${DEMO_DIR}/${name}`);
    await Deno.writeFile(
      `${dir}/${name}`,
      typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes,
    );
  }
  return dir;
}

/** One sentence on standard error, exit code 1, no stack trace. */
async function fails(args: readonly string[], ...parts: string[]): Promise<void> {
  const { code, stderr } = await runMain(args);
  assertEquals(code, 1, stderr);
  for (const part of ["error: ", ...parts]) assertStringIncludes(stderr, part);
  assert(!/\n\s+at /.test(stderr), `a stack trace: ${stderr}`);
}

Deno.test("help lists every flag with its environment variable", async () => {
  const { code, stdout } = await runMain(["help"]);
  assertEquals(code, 0);
  for (const word of ["--port", "QUIRE_PORT", "--kv-cache-memory-bytes", "--max-num-seqs"]) {
    assertStringIncludes(stdout, word);
  }
  assertEquals((await runMain(["--version"])).stdout.trim(), "0.1.0");
});

Deno.test("help, version and plan need no permission, and ask for none", async () => {
  for (
    const [args, expected] of [
      [["help"], "--max-num-seqs"],
      [["--version"], "0.1.0"],
      [["plan", "--help"], "--memory"],
      [["plan", "llama-3.1-8b", "--memory", "8GiB"], "65,536"],
      [["tune", "--help"], "--context"],
    ] as const
  ) {
    const { code, stdout, stderr } = await runMain(args, { QUIRE_PORT: "1" }, ["--no-prompt"]);
    assertEquals([code, stderr], [0, ""], args.join(" "));
    assertStringIncludes(stdout, expected);
  }
});

Deno.test("mistaken flags are refused with the nearest name or the bounds", async () => {
  await fails(["serve", "--prot", "80"], "--prot", "--port");
  await fails(["serve", "--port", "99999"], "--port", "65535", "99999");
  await fails(["serve", "--block-size", "10"], "--block-size", "10");
  await fails(["serve", "--gpu-memory-utilization", "0.9"], "WebGPU");
  await fails(["serve", "--max-model-len", "9999", "--device", "cpu", "--port", "0"], "2048");
});

Deno.test("broken model files are named with what is wrong", async () => {
  const weights = await Deno.readFile(`${DEMO_DIR}/model.safetensors`);
  const serve = (dir: string) => ["serve", "--device", "cpu", "--port", "0", "--model", dir];
  const cut = await alteredModel({ "model.safetensors": weights.subarray(0, weights.length - 9) });
  await fails(serve(cut), "model.safetensors");
  const noConfig = await alteredModel({ "config.json": null });
  await fails(serve(noConfig), "config.json");
  const other = await alteredModel({ "config.json": '{"model_type": "gpt_neox"}' });
  await fails(serve(other), "gpt_neox", "llama");
  const config = JSON.parse(await Deno.readTextFile(`${DEMO_DIR}/config.json`));
  const wide = await alteredModel({
    "config.json": JSON.stringify({ ...config, hidden_size: 256 }),
  });
  await fails(serve(wide), "model.embed_tokens.weight", "[2048, 192]", "[2048, 256]");
  const noTokenizer = await alteredModel({ "tokenizer.json": "{" });
  await fails(serve(noTokenizer), "tokenizer.json");
  await fails(serve("/nowhere/at/all"), "/nowhere/at/all");
  for (const dir of [cut, noConfig, other, wide, noTokenizer]) {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a file of the user's is no store: the start is refused, and the file stays as it is", async () => {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/notes.txt`;
  await Deno.writeTextFile(path, "my notes");
  for (const flag of ["--prefix-store", "--tuning-store"]) {
    const args = ["serve", "--device", "cpu", "--port", "0", flag, path];
    await fails(args, `${flag} ${path} is a text file`);
  }
  assertEquals(await Deno.readTextFile(path), "my notes");
  assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["notes.txt"]);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("a port in use is said, with the flag to change", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await fails(
    ["serve", "--port", String(listener.addr.port)],
    String(listener.addr.port),
    "--port",
  );
  listener.close();
});

Deno.test({
  name: "the reference device serves where there is no adapter, and says how to get one",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const server = await ServerProcess.start([], {
      QUIRE_MAX_NUM_SEQS: "3",
      DENO_WEBGPU_BACKEND: "noop",
    });
    assertStringIncludes(server.output, "reference device");
    assertStringIncludes(server.output, "mesa-vulkan-drivers");
    assertStringIncludes(server.output, "at most 3 sequences");
    const body = { messages: [{ role: "user", content: "Hello!" }] };
    const answer = await (await server.post("/v1/chat/completions", body)).json();
    assertEquals(answer.choices[0].message.content, "Hello! How can I help you?");
    await server.idle();
    await server.stop();
  },
});

for (const device of ["cpu", "auto"]) {
  Deno.test({
    name: `deno task start serves with the permissions of its task (--device ${device})`,
    ignore: Deno.build.os === "windows",
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      const state = await Deno.makeTempDir({ prefix: "state of mine " });
      const server = await ServerProcess.startTask("start", ["--device", device], {
        QUIRE_PREFIX_STORE: "",
        QUIRE_MAX_NUM_SEQS: "3",
        XDG_STATE_HOME: state,
      });
      assertStringIncludes(server.output, "at most 3 sequences");
      assertEquals((await server.fetch("/health")).status, 200);
      for (const path of ["/", "/window/app.ts", "/window/lib/marked.js"]) {
        const response = await server.fetch(path, { headers: { accept: "text/html" } });
        assertEquals(response.status, 200, path);
        assert((await response.text()).length > 100, path);
      }
      const body = { messages: [{ role: "user", content: "Hello!" }] };
      const answer = await (await server.post("/v1/chat/completions", body)).json();
      assertEquals(answer.choices[0].message.content, "Hello! How can I help you?");
      assertEquals(await server.metric("vllm:generation_tokens_total"), 11);
      await server.stop();
      assert(!/NotCapable|Not allowed|off, /.test(server.output), server.output);
      assert((await Deno.stat(`${state}/quire/prefixes.sqlite3`)).size > 0);
      await Deno.remove(state, { recursive: true });
    },
  });
}

Deno.test("no task that serves has wider permissions than its flags' defaults need", async () => {
  const config = await Deno.readTextFile(new URL("../../deno.json", import.meta.url));
  const tasks = [...config.matchAll(/"command": "([^\n]*main\.ts serve)"/g)].map(([, task]) =>
    task!
  );
  assertEquals(tasks.length, 2);
  for (const task of tasks) {
    const flags = [...task.split("&&")[1]!.matchAll(/--allow-[^ "\\]*/g)].map(([flag]) => flag);
    assertEquals(flags.map((flag) => flag.split(",")[0]), [
      "--allow-net=127.0.0.1",
      "--allow-read=.",
      "--allow-write=$STATE",
      "--allow-env=QUIRE_*",
    ]);
  }
});

Deno.test("a model that the process may not read is named, with the flag that lets it", async () => {
  const dir = await Deno.makeTempDir();
  const args = ["serve", "--device", "cpu", "--port", "0", "--model", dir];
  const permissions = ["--no-prompt", "--allow-net=127.0.0.1", "--allow-read=."];
  const { code, stderr } = await runMain(args, {}, permissions);
  assertEquals(code, 1);
  assertStringIncludes(stderr, `error: Not allowed to read --model "${dir}": start with`);
  await Deno.remove(dir);
});

for (
  const [level, words] of [
    ["debug", ["path=/health", "path=/version", "rope_parameters is empty"]],
    ["info", ["path=/version", "rope_parameters is empty"]],
    ["warn", ["rope_parameters is empty"]],
    ["error", []],
  ] as const
) {
  Deno.test({
    name: `--log-level ${level} writes what is as urgent, of both isolates, and no more`,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      const config = JSON.parse(await Deno.readTextFile(`${DEMO_DIR}/config.json`));
      // The engine isolate warns of this while it loads the model.
      const warned = JSON.stringify({ ...config, rope_parameters: {} });
      const dir = await alteredModel({ "config.json": warned });
      const args = ["--device", "cpu", "--model", dir, "--log-level", level];
      const server = await ServerProcess.start(args);
      for (const path of ["/health", "/version"]) await (await server.fetch(path)).body?.cancel();
      server.signal("SIGTERM");
      assertEquals(await server.exitCode(), 0, server.output);
      const all = ["path=/health", "path=/version", "rope_parameters is empty"];
      assertEquals(all.filter((word) => server.output.includes(word)), [...words], server.output);
      await Deno.remove(dir, { recursive: true });
    },
  });
}

Deno.test({
  name: "deno serve main.ts serves the same app",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const server = await ServerProcess.startByDenoServe(freePort(), ["--device", "cpu"]);
    assertEquals((await server.fetch("/health")).status, 200);
    const body = { prompt: "Once upon a time", max_tokens: 4 };
    const answer = await (await server.post("/v1/completions", body)).json();
    assertStringIncludes(answer.choices[0].text, " there was a");
    server.signal("SIGTERM");
    assertEquals(await server.exitCode(), 0, server.output);
  },
});

Deno.test({
  name: "a signal that arrives twice lets running requests finish, and a later one does not",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    for (const isLater of [false, true]) {
      using server = await ServerProcess.start(["--device", "cpu"]);
      // The later signal finds an answer that is far from its end.
      const max_tokens = isLater ? 1500 : 100;
      const body = { prompt: "Once upon a time", max_tokens, ignore_eos: true, stream: true };
      const response = await server.post("/v1/completions", body);
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      let text = (await reader.read()).value ?? "";
      server.signal("SIGINT");
      // Two that are pending at once would reach the process as one.
      await new Promise((resolve) => setTimeout(resolve, isLater ? 700 : 100));
      server.signal("SIGINT");
      try {
        for (let part = await reader.read(); !part.done; part = await reader.read()) {
          text += part.value;
        }
      } catch {
        // The connection broke off.
      }
      assertEquals(text.endsWith("data: [DONE]\n\n"), !isLater);
      assertEquals(await server.exitCode(), isLater ? 130 : 0, server.output);
    }
  },
});
