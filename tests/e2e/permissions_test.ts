/**
 * What commands touch, by Deno's permission audit: a server at work no more than `deno task start`
 * grants, each command no more than the table of docs/cli.md says, and each names what it lacks.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { HUB_VARIABLES } from "../../src/hub/hub_settings.ts";
import { DEMO_DIR } from "../support/demo_engine.ts";
import { HubRig } from "../support/fake_hub.ts";
import { MainProcess } from "../support/main_process.ts";
import { embeddedFiles } from "../support/module_graph.ts";
import { notGranted, readAudit, type Touch } from "../support/permission_audit.ts";
import { freePort, ServerProcess } from "../support/server_process.ts";

const ROOT = new URL("../../", import.meta.url).pathname.replace(/\/$/, "");

/** The permissions of the task `start`, its state directory at `state`. */
async function flagsOfStart(state: string): Promise<string[]> {
  const config = await Deno.readTextFile(`${ROOT}/deno.json`);
  const [, task] = /"start": \{[^}]*"command": "([^\n]*)"\n/.exec(config)!;
  const flags = task!.split("&&")[1]!.match(/--allow-[^ "\\]*/g)!;
  return flags.map((flag) => flag.replaceAll("$STATE", state));
}

/** Asks for everything that a server does at work, each in its own threads and files. */
async function work(server: ServerProcess): Promise<void> {
  const user = (content: string) => [{ role: "user", content }];
  const chat = "/v1/chat/completions";
  const json_schema = {
    name: "n",
    schema: { type: "object", properties: { a: { type: "string" } } },
  };
  const tools = [{ type: "function", function: { name: "look", parameters: { type: "object" } } }];
  const bodies: readonly (readonly [path: string, body: unknown])[] = [
    [chat, { messages: user("Hello!"), explain: true }],
    [chat, {
      messages: user("Hello!"),
      max_tokens: 8,
      response_format: { type: "json_schema", json_schema },
    }],
    [chat, { messages: user("Hello!"), max_tokens: 8, tools, tool_choice: "required" }],
    [chat, { messages: user("Hello!"), max_tokens: 4, stream: true }],
    ["/v1/completions", { prompt: "Once upon a time", max_tokens: 4, logprobs: 2, n: 2 }],
    ["/v1/messages", { model: "quire-demo", max_tokens: 4, messages: user("Hello!") }],
    ["/v1/responses", { input: "Hello!", max_output_tokens: 4 }],
    ["/api/chat", { model: "quire-demo", messages: user("Hello!"), options: { num_predict: 4 } }],
    ["/v1/embeddings", { input: "Hello!" }],
    // Long enough for the tokenizer's Workers.
    ["/tokenize", { prompt: "once upon a time ".repeat(20_000) }],
    ["/admin/kv/resize", { memory_bytes: "64MiB" }],
    ["/reset_prefix_cache", {}],
  ];
  for (const [path, body] of bodies) {
    const response = await server.post(path, body);
    assert(response.status < 300, `${path} ${response.status}: ${await response.clone().text()}`);
    await response.arrayBuffer();
  }
  const paths = ["/", "/window/app.ts", "/window/lib/marked.js", "/metrics", "/openapi.json"];
  for (const path of [...paths, "/docs", "/v1/models", "/admin/kv/plan", "/health"]) {
    const response = await server.fetch(path, { headers: { accept: "text/html" } });
    assert(response.status < 300, `${path} ${response.status}`);
    await response.arrayBuffer();
  }
}

/** The bundled model's files, for a hub. */
function demoFiles(): Record<string, Uint8Array> {
  const files = [...Deno.readDirSync(DEMO_DIR)].filter(({ isFile }) => isFile);
  return Object.fromEntries(
    files.map(({ name }) => [name, Deno.readFileSync(`${DEMO_DIR}/${name}`)]),
  );
}

const options = { sanitizeOps: false, sanitizeResources: false } as const;
/**
 * Every permission. Those of files name the root: where they name nothing, Deno's audit has each
 * read as a write, too.
 */
const EVERYTHING = ["net", "read=/", "write=/", "env", "sys", "run", "ffi", "import"]
  .map((name) => `--allow-${name}`);
const isWindows = Deno.build.os === "windows";

for (const [how, device] of [["as deno task start", "cpu"], ["with every permission", "auto"]]) {
  Deno.test({
    name: `a server at work touches nothing but what its task grants (${how}, --device ${device})`,
    ignore: isWindows,
    ...options,
    async fn() {
      const home = await Deno.makeTempDir();
      const state = `${home}/quire`;
      const audit = `${home}/audit.jsonl`;
      const env = { XDG_STATE_HOME: home, QUIRE_PREFIX_STORE: "", DENO_AUDIT_PERMISSIONS: audit };
      const args = ["--device", device!, "--max-num-seqs", "4"];
      // Twice, so that the second one reads what the first one has stored.
      for (let start = 0; start < 2; start++) {
        const server = how === "as deno task start"
          ? await ServerProcess.startTask("start", args, env)
          : await ServerProcess.startAllowed(EVERYTHING, args, env);
        await work(server);
        await server.stop();
      }
      const touched = await readAudit(audit);
      const grants = await flagsOfStart(state);
      // Asked for where it is granted alone (`src/runner/unified_memory.ts`): a better default.
      const memory = how === "as deno task start" ? [] : ["--allow-sys=systemMemoryInfo"];
      assertEquals(notGranted(touched, [...grants, ...memory], ROOT), []);
      // The audit saw the work: threads, the model, the stores, the door.
      const values = touched.map(({ permission, value }) => `${permission} ${value}`);
      for (
        const value of [
          `read ${ROOT}/src/engine/worker.ts`,
          `read ${ROOT}/src/grammar/compile_worker.ts`,
          `read ${ROOT}/src/tokenizer/tokenizer_worker.ts`,
          `read ${DEMO_DIR}/model.safetensors`,
          `write ${state}/prefixes.sqlite3`,
        ]
      ) {
        assert(values.includes(value), `${value} is not in\n${values.join("\n")}`);
      }
      const ports = touched.filter(({ permission }) => permission === "net");
      assert(ports.length > 0 && ports.every(({ value }) => value.startsWith("127.0.0.1:")));
      await checkEmbedded(touched);
      await Deno.remove(home, { recursive: true });
    },
  });
}

/** What a server reads of its own folder is in the compiled binary, too. */
async function checkEmbedded(touched: readonly Touch[]): Promise<void> {
  const embedded = await embeddedFiles();
  const read = touched.filter(({ permission }) => permission === "read")
    .filter(({ value }) => value.startsWith(`${ROOT}/`) && isFile(value))
    .map(({ value }) => value.slice(ROOT.length + 1));
  assert(read.length > 100);
  assertEquals(read.filter((path) => !embedded.has(path)), []);
}

/** Files that a model may lack are looked for as well. */
function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** A row of the table: commands, and the flags that they need. */
interface Row {
  readonly commands: readonly string[];
  readonly flags: readonly string[];
}

async function tableOfPermissions(): Promise<Row[]> {
  const page = await Deno.readTextFile(`${ROOT}/docs/cli.md`);
  const [, section] = /\n## Permissions\n([^]*?)\n## /.exec(page)!;
  assertStringIncludes(section!, HUB_VARIABLES);
  return section!.split("\n").filter((line) => line.startsWith("| `")).map((line) => {
    const [, commands, flags] = line.split("|");
    const quoted = (text: string) => [...text.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);
    return { commands: quoted(commands!), flags: quoted(flags!) };
  });
}

/** A server of OpenAI's API that says one word, and explains. */
function startPeer() {
  return Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    if (request.method === "GET") return Response.json({ data: [{ id: "m", owned_by: "quire" }] });
    const { stream } = await request.json();
    if (!stream) return Response.json({ quire: { prompts: [{ text: "all" }], decisions: [] } });
    const usage = { prompt_tokens: 2, completion_tokens: 1 };
    const events = [{ choices: [{ delta: { content: "Hi" } }] }, { choices: [], usage }];
    const text = events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("");
    return new Response(`${text}data: [DONE]\n\n`);
  });
}

/** What the words of the table in capitals stand for, and what a command may read. */
interface Places {
  readonly url: string;
  readonly hub: HubRig;
  /** A folder with a request, and a trace. */
  readonly dir: string;
}

/** What a download prints. */
const FETCHED = "/snapshots/";
/** What a plan prints of a model by name, whose config it fetches. */
const PLANNED = "acme/other, 6 layers";

/** How a command of the table is called, and what it then says. */
type Call = readonly [args: readonly string[], says: string, code?: number];

function callOf(command: string, { url, dir }: Places): Call {
  const bench = ["bench", url, "--num-prompts", "2", "--warmups", "0"];
  const model = ["--device", "cpu"];
  const calls: Readonly<Record<string, Call>> = {
    "help": [["help"], "--max-num-seqs"],
    "version": [["version"], "0.1.0"],
    "completions": [["completions", "bash"], "_quire"],
    // Without permissions a server could not start, and it says so by its code.
    "doctor": [["doctor"], "--allow-read", 1],
    "plan PRESET": [["plan", "llama-3.1-8b"], "65,536"],
    "plan FILE": [["plan", DEMO_DIR], "6 layers"],
    "bench": [bench, "Successful requests         2"],
    "bench --trace FILE": [[...bench, "--trace", `${dir}/trace.jsonl`], "Successful requests"],
    "explain FILE": [["explain", "--url", url, `${dir}/request.json`], "all"],
    "chat --url": [["chat", "--url", url], ""],
    "run --url": [["run", "--url", url, "Hello!"], "Hi"],
    "run": [["run", ...model, "--max-tokens", "2", "Hello!"], "Hello"],
    "chat": [["chat", ...model], ""],
    "tune": [["tune", "--device", "cpu"], "", 1],
    "serve": [["serve", ...model, "--port", new URL(url).port], "Ready"],
    "pull": [["pull", "acme/demo"], FETCHED],
    "plan NAME": [["plan", "acme/other"], PLANNED],
    "models": [["models"], "acme/demo"],
    "rm": [["rm", "acme/demo"], "Removed acme/demo"],
  };
  const call = calls[command];
  assert(call !== undefined, `docs/cli.md names ${command}, which this test does not know`);
  return call;
}

/** A flag of the table with its words in capitals replaced. */
function meant(flag: string, { url, hub, dir }: Places): string {
  const { host, port } = new URL(url);
  const hosts = [hub.hub.url, hub.hub.cdnUrl].map((hubUrl) => new URL(hubUrl).host);
  const words = {
    "HOST:PORT": host,
    "127.0.0.1:PORT": `127.0.0.1:${port}`,
    HUB: hosts.join(","),
    VARIABLES: HUB_VARIABLES,
    CACHE: hub.cacheDir,
    FOLDER: ROOT,
    MODEL: DEMO_DIR,
    FILE: dir,
  };
  const [name, value = ""] = flag.split("=");
  assert(value in words, `docs/cli.md has ${flag}, which this test does not know`);
  return `${name}=${words[value as keyof typeof words]}`;
}

/** With these flags alone it works, and its audit has nothing beyond them. */
async function checkAlone(
  [args, says, code = 0]: Call,
  flags: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const audit = await Deno.makeTempFile();
  const what = `${flags.join(" ")} quire ${args.join(" ")}`;
  {
    await using main = new MainProcess(args, { ...env, DENO_AUDIT_PERMISSIONS: audit }, [
      "--no-prompt",
      ...flags,
    ]);
    if (args[0] === "serve") {
      await main.says(says);
      main.kill("SIGTERM");
    }
    assertEquals(await main.code(), code, `${what}: ${main.stderr}`);
    assertStringIncludes(main.stdout, says, what);
    assert(!/NotCapable|Requires \w+ access/.test(main.stdout + main.stderr), main.stderr);
  }
  // Links need every permission of files: a download tries one, and has the file itself without.
  const isLink = ({ permission, value }: Touch) => permission === "write" && value === "";
  const touched = (await readAudit(audit)).filter((touch) =>
    ![FETCHED, PLANNED].includes(says) || !isLink(touch)
  );
  assertEquals(notGranted(touched, flags, ROOT), [], what);
  await Deno.remove(audit);
}

/** Without one of them it ends with a sentence that names it. */
async function checkLacking(
  [args]: Call,
  { lacking, others }: { readonly lacking: string; readonly others: readonly string[] },
  env: Readonly<Record<string, string>>,
): Promise<void> {
  await using main = new MainProcess(args, env, ["--no-prompt", ...others]);
  const what = `quire ${args.join(" ")} without ${lacking}`;
  assertEquals(await main.code(), 1, what);
  assertStringIncludes(main.stderr, "error: ", what);
  assertStringIncludes(main.stderr, lacking.split("=")[0]!, what);
  assert(!/\n\s+at /.test(main.stderr), `a stack: ${main.stderr}`);
}

Deno.test({
  name:
    "each command does with the flags of docs/cli.md what it is for, touches nothing else, and " +
    "names a flag that it lacks",
  ignore: isWindows,
  ...options,
  async fn() {
    await using hub = await HubRig.start();
    for (const name of ["demo", "other"]) hub.hub.commit(`acme/${name}`, demoFiles());
    const dir = await Deno.makeTempDir();
    await Deno.writeTextFile(`${dir}/request.json`, '{"messages": []}');
    const line = { timestamp: 0, input_length: 4, output_length: 2, hash_ids: [1] };
    await Deno.writeTextFile(`${dir}/trace.jsonl`, JSON.stringify(line));
    await using peer = startPeer();
    const url = `http://127.0.0.1:${peer.addr.port}`;
    const unused = `http://127.0.0.1:${freePort()}`;
    const table = await tableOfPermissions();
    assert(table.length > 5);
    for (const { commands, flags: words } of table) {
      for (const command of commands) {
        const places = { hub, dir, url: command === "serve" ? unused : url };
        const flags = words.map((word) => meant(word, places));
        // First what fails: then nothing is in the cache yet that would make a flag needless.
        for (const lacking of flags) {
          const others = flags.filter((flag) => flag !== lacking);
          await checkLacking(callOf(command, places), { lacking, others }, hub.env);
        }
        await checkAlone(callOf(command, places), flags, hub.env);
      }
    }
    await Deno.remove(dir, { recursive: true });
  },
});
