/**
 * The image and the service: what their files name is there, and their command lines, run as they
 * stand but for paths and port, serve and drain when they are stopped.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { WORKERS } from "../../src/packaging/compile.ts";
import { EXIT_CODES } from "../../src/server/process_end.ts";
import { embeddedFiles } from "../support/module_graph.ts";
import { freePort, ServerProcess } from "../support/server_process.ts";

const ROOT = new URL("../../", import.meta.url).pathname.replace(/\/$/, "");
const PACKAGING = `${ROOT}/src/packaging`;
const KEY = "sk-of-the-test";

/** Instructions of the Dockerfile with what follows them, their continued lines as one. */
function instructions(): [name: string, text: string][] {
  const lines = Deno.readTextFileSync(`${PACKAGING}/Dockerfile`)
    .split("\n").filter((line) => !line.startsWith("#")).join("\n").replace(/\s*\\\n\s*/g, " ");
  return lines.split("\n").filter(Boolean).map((line) => {
    const [, name, text] = /^\s*([A-Z]+) +(.*)$/.exec(line)!;
    return [name!, text!];
  });
}

/** The only instruction of that name. */
function only(name: string): string {
  const found = instructions().filter(([other]) => other === name);
  assertEquals(found.length, 1, name);
  return found[0]![1];
}

function listOf(text: string): string[] {
  return JSON.parse(text.slice(text.indexOf("[")));
}

/** Settings of the unit, each with its values in order. */
function unit(): Map<string, string[]> {
  const settings = new Map<string, string[]>();
  for (const line of Deno.readTextFileSync(`${PACKAGING}/quire.service`).split("\n")) {
    const [, name, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (name !== undefined) settings.set(name, [...settings.get(name) ?? [], value!]);
  }
  return settings;
}

/** The version of Deno that continuous integration, and the README, run. */
function testedVersion(): string {
  return /deno@(\d+\.\d+\.\d+)/.exec(Deno.readTextFileSync(`${ROOT}/README.md`))![1]!;
}

Deno.test("the image has the tested Deno, and every file of a server, and nobody's rights but its own", async () => {
  assert(only("FROM").endsWith(`-${testedVersion()}`), only("FROM"));
  const copied = instructions().filter(([name]) => name === "COPY")
    .flatMap(([, text]) => text.split(" ").slice(0, -1));
  for (const path of copied) assert((await Deno.stat(`${ROOT}/${path}`)).size >= 0, path);
  const health = listOf(only("HEALTHCHECK")).find((word) => word.endsWith(".ts"))!;
  const holds = (path: string) => copied.some((at) => path === at || path.startsWith(`${at}/`));
  assertEquals([...await embeddedFiles(), health].filter((path) => !holds(path)), []);
  // The build sees what is not ignored.
  const seen = Deno.readTextFileSync(`${PACKAGING}/Dockerfile.dockerignore`).match(/^!.*$/mg)!;
  assertEquals(seen.map((line) => line.slice(1)).sort(), [...copied].sort());
  // Threads' packages are fetched while the image is built: its processes fetch nothing.
  const installs = instructions().filter(([, text]) => text.includes("--entrypoint"));
  for (const path of ["main.ts", ...WORKERS]) assertStringIncludes(installs[0]![1], path);
  assertEquals(only("USER"), "deno");
  assertEquals(only("STOPSIGNAL"), "SIGTERM");
  assert(listOf(only("ENTRYPOINT")).includes("--cached-only"));
});

Deno.test("the unit waits for a drain, and restarts what another process may mend", () => {
  const settings = unit();
  const one = (name: string) => settings.get(name)![0]!;
  const [, drain] = /--shutdown-timeout (\d+)/.exec(one("ExecStart"))!;
  assert(Number(one("TimeoutStopSec")) > Number(drain) + 10);
  assertEquals(one("KillSignal"), "SIGTERM");
  assertEquals(one("Restart"), "on-failure");
  const isFinal = one("RestartPreventExitStatus").split(" ").map(Number);
  assertEquals(isFinal, [EXIT_CODES.mistake]);
  assert(!settings.has("MemoryDenyWriteExecute"), "V8 compiles to machine code");
});

/** What is in the permissions of a command line: hosts, and paths beyond those that it names. */
function grantsOf(line: readonly string[]): string[] {
  return line.filter((word) => word.startsWith("--allow-")).map((word) => word.split("=")[0]!);
}

const START_GRANTS = ["--allow-net", "--allow-read", "--allow-write", "--allow-env", "--allow-sys"];

/** Reads the first piece of a long streamed answer, and then hands out the rest. */
async function beginAnswer(server: ServerProcess) {
  const body = { prompt: "Once upon a time", max_tokens: 120, ignore_eos: true, stream: true };
  const headers = { "content-type": "application/json", authorization: `Bearer ${KEY}` };
  const response = await server.post("/v1/completions", body, { headers });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = (await reader.read()).value!;
  return async () => {
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
    return text;
  };
}

/** Serves by a command line, is stopped in the middle of an answer, and finishes it. */
async function servesAndDrains(
  line: readonly string[],
  env: Record<string, string>,
  { signal, check }: { readonly signal: string; readonly check?: () => Promise<number> },
): Promise<void> {
  using server = await ServerProcess.startCommand([...line, "--device", "cpu"], env);
  if (check !== undefined) assertEquals(await check(), 0, "the health check of a server at work");
  const rest = await beginAnswer(server);
  server.signal(signal as Deno.Signal);
  assert((await rest()).endsWith("data: [DONE]\n\n"), "the answer was cut off");
  assertEquals(await server.exitCode(), EXIT_CODES.stopped, server.output);
  assert(!/NotCapable|Requires \w+ access/.test(server.output), server.output);
  if (check !== undefined) assertEquals(await check(), 1, "the health check of a stopped server");
}

const deno = { sanitizeOps: false, sanitizeResources: false, ignore: Deno.build.os === "windows" };

/** A folder, and variables of a bare process that finds Deno's packages. */
async function bare(env: Record<string, string>) {
  const info = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const { denoDir } = JSON.parse(new TextDecoder().decode(info.stdout));
  return { NO_COLOR: "1", XDG_RUNTIME_DIR: "/tmp", ...env, DENO_DIR: denoDir };
}

Deno.test({
  name:
    "the image's command line serves, is found alive by its health check, and drains when stopped",
  ...deno,
  async fn() {
    const dir = await Deno.makeTempDir();
    const port = String(freePort());
    const here = (word: string) =>
      word.replace(/^deno$/, Deno.execPath()).replaceAll("8000", port)
        .replaceAll("/quire", ROOT).replaceAll("/state", dir).replaceAll("/models", dir)
        .replace(/^(main\.ts|src\/.*)$/, `${ROOT}/$1`);
    const line = [...listOf(only("ENTRYPOINT")), ...listOf(only("CMD"))].map(here);
    assertEquals(grantsOf(line), START_GRANTS);
    const [file, ...args] = listOf(only("HEALTHCHECK")).map(here);
    const check = async () => (await new Deno.Command(file!, { args }).output()).code;
    const env = await bare({ XDG_STATE_HOME: dir, HF_HOME: dir });
    const refused = await new Deno.Command(line[0]!, {
      args: [...line.slice(1), "--port", port],
      env,
      clearEnv: true,
    }).output();
    assertEquals(refused.code, EXIT_CODES.mistake);
    assertStringIncludes(new TextDecoder().decode(refused.stderr), "--api-key");
    const allowed = { ...env, QUIRE_API_KEY: KEY };
    await servesAndDrains([...line, "--port", port], allowed, {
      signal: only("STOPSIGNAL"),
      check,
    });
    assert((await Deno.stat(`${dir}/quire/prefixes.sqlite3`)).size > 0, "/state keeps nothing");
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: "the service's command line serves, and drains on the unit's stop signal",
  ...deno,
  async fn() {
    const dir = await Deno.makeTempDir();
    const port = String(freePort());
    const settings = unit();
    const here = (text: string) =>
      text.replaceAll("/opt/quire", ROOT).replaceAll("/var/lib", dir).replaceAll("8000", port);
    const words = here(settings.get("ExecStart")![0]!).split(" ");
    const line = words.map((word) =>
      word.replace("/usr/local/bin/deno", Deno.execPath()).replace(/^main\.ts$/, `${ROOT}/main.ts`)
    );
    assertEquals(grantsOf(line), START_GRANTS);
    const given = Object.fromEntries(
      settings.get("Environment")![0]!.split(" ").map((pair) => here(pair).split("=")),
    );
    const env = { ...await bare(given), QUIRE_API_KEY: KEY };
    const signal = settings.get("KillSignal")![0]!;
    await servesAndDrains([...line, "--port", port], env, { signal });
    assert((await Deno.stat(`${dir}/quire/prefixes.sqlite3`)).size > 0, "no StateDirectory");
    await Deno.remove(dir, { recursive: true });
  },
});

/** Where there is systemd: its own look at the unit. */
async function hasSystemd(): Promise<boolean> {
  try {
    return (await new Deno.Command("systemd-analyze", { args: ["--version"] }).output()).success;
  } catch {
    // deno-lint-ignore no-console -- a skip must say why
    console.warn("skipped: systemd-analyze is not on PATH, so systemd does not read the unit");
    return false;
  }
}

Deno.test({
  name: "systemd reads the unit without a complaint, and finds it closed off",
  ignore: !await hasSystemd(),
  async fn() {
    const dir = await Deno.makeTempDir();
    const text = Deno.readTextFileSync(`${PACKAGING}/quire.service`)
      .replaceAll("/usr/local/bin/deno", Deno.execPath()).replaceAll("/opt/quire", ROOT);
    await Deno.writeTextFile(`${dir}/quire.service`, text);
    const analyze = async (...args: string[]) => {
      const command = new Deno.Command("systemd-analyze", {
        args: [...args, `${dir}/quire.service`],
      });
      const { success, stdout, stderr } = await command.output();
      const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
      return { success, text: decode(stdout) + decode(stderr) };
    };
    assertEquals(await analyze("verify"), { success: true, text: "" });
    // Of 100; a plain unit has 96. Fails above.
    const { success, text: report } = await analyze("security", "--offline=true", "--threshold=20");
    assert(success, report);
    await Deno.remove(dir, { recursive: true });
  },
});
