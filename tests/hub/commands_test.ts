import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { DEMO_DIR } from "../support/demo_engine.ts";
import { demoGguf } from "../support/gguf_checkpoint.ts";
import { HubRig, pattern, tinyRepo } from "../support/fake_hub.ts";
import { MainProcess } from "../support/main_process.ts";
import { ServerProcess } from "../support/server_process.ts";

/** The bundled model's files. */
function demoFiles(): Record<string, Uint8Array> {
  const names = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "README.md",
  ];
  return Object.fromEntries(names.map((name) => [name, Deno.readFileSync(`${DEMO_DIR}/${name}`)]));
}

/** Runs a command to its end: exit code, standard output and standard error. */
async function run(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  permissions?: readonly string[],
): Promise<[code: number, stdout: string, stderr: string]> {
  await using main = new MainProcess(args, env, permissions);
  return [await main.code(), main.stdout, main.stderr];
}

async function failing(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  permissions?: readonly string[],
): Promise<string> {
  const [code, , stderr] = await run(args, env, permissions);
  assertEquals(code, 1, stderr);
  assertStringIncludes(stderr, "error: ");
  assert(!/\n\s+at /.test(stderr), `a stack trace: ${stderr}`);
  return stderr;
}

/** What a server says of itself, and a few tokens of its answer. */
async function ask(server: ServerProcess): Promise<{ id: string; text: string }> {
  const { data } = await (await server.fetch("/v1/models")).json();
  const body = { model: data[0].id, prompt: "Once upon", max_tokens: 8, temperature: 0 };
  const { choices } = await (await server.post("/v1/completions", body)).json();
  return { id: data[0].id, text: choices[0].text };
}

Deno.test("a model is pulled, listed, planned for, served by its name, and removed", async () => {
  await using rig = await HubRig.start();
  const commit = rig.hub.commit("acme/demo", demoFiles());
  const [code, stdout, stderr] = await run(["pull", "acme/demo"], rig.env);
  assertEquals([code, stdout.trim()], [
    0,
    `${rig.cacheDir}/models--acme--demo/snapshots/${commit}`,
  ]);
  assertStringIncludes(stderr, "acme/demo: ");
  assertStringIncludes(stderr, "MiB fetched, in ");
  rig.hub.seen.length = 0;

  const [, list] = await run(["models"], rig.env);
  assertStringIncludes(list, "NAME");
  const row = new RegExp(`^acme/demo +main ${commit.slice(0, 8)} +[\\d.]+ MiB +llama +yes$`, "m");
  assert(row.test(list), list);
  const [, plan] = await run(["plan", "acme/demo"], rig.env);
  assertStringIncludes(plan, "Model    acme/demo, 6 layers");

  using server = await ServerProcess.start(["acme/demo", "--device", "cpu"], rig.env);
  const { id, text } = await ask(server);
  assertEquals(id, "acme/demo");
  assert(text.length > 0);
  assertStringIncludes(server.output, "acme/demo (llama)");
  await server.stop();
  assertEquals(rig.hub.seen, []);

  const [, removed] = await run(["rm", "acme/demo"], rig.env);
  assert(/^Removed acme\/demo \(1 revision\): [\d.]+ MiB freed$/m.test(removed), removed);
  assertStringIncludes((await run(["models"], rig.env))[1], "No models in ");
});

Deno.test("serve downloads with --yes, and without says what to run", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/demo", demoFiles());
  const serve = ["serve", "acme/demo", "--device", "cpu", "--port", "0"];
  assertStringIncludes(
    await failing(serve, rig.env),
    `"acme/demo" is no directory, and not in the cache ${rig.cacheDir}: fetch it with ` +
      "quire pull acme/demo, or serve it with --yes",
  );
  assertStringIncludes(await failing(["tune", "acme/demo"], rig.env), "quire pull acme/demo");
  assertEquals(rig.hub.seen, []);
  using server = await ServerProcess.start(
    ["acme/demo", "--yes", "--device", "cpu"],
    rig.env,
    ["--allow-write"],
  );
  assertEquals((await ask(server)).id, "acme/demo");
  await server.stop();
});

Deno.test("a model that cannot run here is refused before its weights, and listed with the reason", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/odd", { ...tinyRepo(), "config.json": '{"model_type": "gpt_neox"}' });
  const stderr = await failing(["serve", "acme/odd", "--yes", "--port", "0"], rig.env);
  assertStringIncludes(stderr, "acme/odd cannot run here: ");
  assertStringIncludes(stderr, "gpt_neox");
  assertEquals(rig.hub.paths("cdn"), []);
  const [code, , note] = await run(["pull", "acme/odd"], rig.env);
  assertEquals(code, 0);
  assertStringIncludes(note, "Note: this build cannot run acme/odd: ");
  const [, json] = await run(["models", "--json"], rig.env);
  const [model] = JSON.parse(json).models;
  assertEquals([model.name, model.type, model.runs], ["acme/odd", "gpt_neox", false]);
  assertStringIncludes(model.reason, "gpt_neox");
});

Deno.test("a GGUF file is pulled, listed, planned for and served by its quantization", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/demo-GGUF", { "demo-F16.gguf": demoGguf("F16"), "demo-Q8_0.gguf": "later" });
  const name = "acme/demo-GGUF:F16";
  const missing = await failing(["plan", name], rig.env);
  assertStringIncludes(missing, `fetch it with quire pull ${name}`);
  const [code, , stderr] = await run(["pull", name], rig.env);
  assertEquals(code, 0);
  assert(!stderr.includes("cannot run"), stderr);
  const [, table] = await run(["models"], rig.env);
  assertStringIncludes(table, `yes, as ${name}`);
  const [, json] = await run(["models", "--json"], rig.env);
  const [{ gguf, runs }] = JSON.parse(json).models;
  assertEquals([gguf, runs], [["F16"], true]);
  const [, plan] = await run(["plan", name], rig.env);
  assertStringIncludes(plan, "Model    acme/demo-GGUF, 6 layers");
  rig.hub.seen.length = 0;
  const server = await ServerProcess.start([name], rig.env);
  try {
    assertEquals(await ask(server), {
      id: "acme/demo-GGUF",
      text: " a time there was a clever boy named",
    });
  } finally {
    await server.stop();
  }
  assertEquals(rig.hub.seen, []);
});

Deno.test("quire plan fetches the config alone", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/demo", demoFiles());
  const [code, plan] = await run(["plan", "acme/demo"], rig.env);
  assertEquals(code, 0);
  assertStringIncludes(plan, "Model    acme/demo, 6 layers");
  assertEquals(rig.hub.paths().map((path) => path.split("/").at(-1)), [
    "config.json",
    "config.json",
  ]);
  rig.hub.commit("acme/none", { "x-Q8_0.gguf": pattern(9) });
  assertStringIncludes(
    await failing(["plan", "acme/none"], rig.env),
    "acme/none has no config.json",
  );
});

Deno.test("a permission that is missing is named with its flag", async () => {
  await using rig = await HubRig.start();
  rig.hub.commit("acme/tiny", tinyRepo());
  const host = new URL(rig.hub.url).host;
  const cdn = new URL(rig.hub.cdnUrl).host;
  const env = "--allow-env";
  const read = `--allow-read=.,${rig.home}`;
  const write = `--allow-write=${rig.home}`;
  for (
    const [permissions, missing] of [
      [[], "set HF_HOME or HOME, and let Quire read them with --allow-env="],
      [[env], `--allow-read=${rig.cacheDir}`],
      [[env, read], `--allow-write=${rig.cacheDir}`],
      [[env, read, write], `--allow-net=${host}`],
      [[env, read, write, `--allow-net=${host}`], `--allow-net=${cdn}`],
    ] as const
  ) {
    const stderr = await failing(["pull", "acme/tiny"], rig.env, ["--no-prompt", ...permissions]);
    assertStringIncludes(stderr, missing);
  }
  const narrow = ["--no-prompt", env, read, write, `--allow-net=${host},${cdn}`];
  const [code, dir] = await run(["pull", "acme/tiny"], rig.env, narrow);
  assertEquals(code, 0);
  // Deno makes links only where everything may be written.
  const file = `${dir.trim()}/model.safetensors`;
  assertEquals((await Deno.lstat(file)).isSymlink, false);
  assertEquals(await Deno.readFile(file), pattern(5000));
});

/** Runs a command on a terminal of its own, and types `answer` into it. */
async function onTerminal(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  answer: string,
): Promise<string> {
  const line = [Deno.execPath(), "run", "--no-check", "-A", "main.ts", ...args].join(" ");
  const child = new Deno.Command("script", {
    args: ["-qefc", line, "/dev/null"],
    cwd: new URL("../../", import.meta.url).pathname,
    env: { ...env, QUIRE_PREFIX_STORE: "none" },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  let output = "";
  let hasAnswered = false;
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    output += text;
    if (hasAnswered || !output.includes("[Y/n]")) continue;
    hasAnswered = true;
    await writer.write(new TextEncoder().encode(answer));
  }
  await writer.close().catch(() => {});
  await child.status;
  return output;
}

function hasScript(): boolean {
  try {
    return new Deno.Command("script", { args: ["--version"], stdout: "null", stderr: "null" })
      .outputSync().success;
  } catch {
    return false;
  }
}

Deno.test({
  name: "on a terminal serve asks before it downloads, and a no is heeded",
  ignore: Deno.build.os !== "linux" || !hasScript(),
  async fn() {
    await using rig = await HubRig.start();
    rig.hub.commit("acme/demo", demoFiles());
    const serve = ["serve", "acme/demo", "--device", "cpu", "--port", "0"];
    const { host } = new URL(rig.hub.url);
    const refused = await onTerminal(serve, rig.env, "n\n");
    assert(/Download [\d.]+ MiB of acme\/demo from /.test(refused), refused);
    assertStringIncludes(refused, `from ${host}? [Y/n]`);
    assertStringIncludes(
      refused,
      "acme/demo is not downloaded: quire pull acme/demo does that later",
    );
    assertEquals(rig.hub.paths("cdn"), []);
  },
});
