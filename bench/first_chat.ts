/**
 * How long it takes from `deno task start` to an answer in a browser, phase by phase:
 *
 *     deno run -A bench/first_chat.ts [--rounds 3] [--npx] [--device auto] [--quick]
 *
 * Rounds alternate between a first start (packages are downloaded, and nothing is compiled: neither
 * TypeScript nor kernels) and one that finds all of it compiled. The browser is open already and is
 * given the address as soon as it answers; it asks as soon as it shows the page. `--npx` starts by
 * `npx -y deno@VERSION`, as on a machine that has Node alone. Without a browser, and with `--quick`,
 * the program asks itself. Where other work runs on the machine, the processor seconds that the
 * server took until it was ready say more than the clock: on an idle machine it takes about as long.
 * The last line is JSON, seconds since the process was started.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { parseArgs } from "node:util";
import { findBrowser } from "../tests/support/find_browser.ts";
import { freePort } from "../tests/support/server_process.ts";
import { table } from "../src/plan/plan_text.ts";
import { currentCommit } from "./demo.ts";
import { cpuSeconds, endFamily } from "./process_cpu.ts";
import { median } from "./median.ts";

const ROOT = new URL("../", import.meta.url).pathname;
const POLL_MS = 20;
const PROMPT = "Tell me a story about a fox and a lantern.";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    device: { type: "string", default: "auto" },
    npx: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
  },
});

/** Seconds from the start of the process until each was there. */
interface Times {
  /** The address answers. */
  listens: number;
  /** The page can be written into. */
  page?: number;
  /** The engine takes requests. */
  ready: number;
  /** First text of the first answer. */
  first: number;
  /** The whole answer. */
  answer: number;
  /** Processor seconds of the server until it was ready; on Linux alone. */
  cpu?: number;
}

/** Folders of what is compiled. */
interface Caches {
  readonly denoDir: string;
  readonly shaders: string;
  readonly state: string;
}

/** Caches that have the packages, which they share, and nothing that is made of them. */
async function emptyCaches(dir: string): Promise<Caches> {
  const caches = { denoDir: `${dir}/deno`, shaders: `${dir}/shaders`, state: `${dir}/state` };
  for (const path of Object.values(caches)) {
    await Deno.remove(path, { recursive: true }).catch(() => {});
    await Deno.mkdir(path);
  }
  const info = await output(["info", "--json"]);
  const { npmCache } = JSON.parse(info) as { npmCache: string };
  await Deno.symlink(npmCache, `${caches.denoDir}/npm`, { type: "junction" });
  return caches;
}

async function output(args: readonly string[]): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: [...args] }).output();
  return new TextDecoder().decode(stdout);
}

function startServer(port: number, { denoDir, shaders, state }: Caches): Deno.ChildProcess {
  const [program, ...first] = values.npx
    ? ["npx", "-y", `deno@${Deno.version.deno}`]
    : [Deno.execPath()];
  return new Deno.Command(program!, {
    args: [...first, "task", "start", "--port", String(port), "--device", values.device],
    cwd: ROOT,
    env: {
      DENO_DIR: denoDir,
      MESA_SHADER_CACHE_DIR: shaders,
      XDG_STATE_HOME: state,
      XDG_RUNTIME_DIR: Deno.env.get("XDG_RUNTIME_DIR") ?? "/tmp",
    },
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
}

/** Waits until a URL answers with 200. */
async function answers(url: string): Promise<void> {
  while (true) {
    const ok = await fetch(url).then(async ({ ok, body }) => {
      await body?.cancel();
      return ok;
    }, () => false);
    if (ok) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Moments of an answer, ms since 1970. */
interface Seen {
  readonly shownMs?: number;
  readonly firstMs: number;
  readonly wholeMs: number;
}

/** Whoever asks, opened beforehand. */
type Visitor = (url: string) => Promise<Seen>;

async function openBrowser(path: string): Promise<Visitor> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "first_chat.ts", path],
    cwd: `${ROOT}tests/browser`,
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  await reader.read();
  return async (url) => {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(`${url}\n`));
    const { value } = await reader.read();
    await child.status;
    await writer.close().catch(() => {});
    return JSON.parse(value!);
  };
}

/** Without a browser: the same question once the engine is ready; a quick run asks for few words. */
async function askByProgram(url: string): Promise<Seen> {
  await answers(`${url}/ready`);
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      stream: true,
      messages: [{ role: "user", content: PROMPT }],
      ...(values.quick ? { max_tokens: 8 } : {}),
    }),
  });
  let firstMs: number | undefined;
  for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
    if (/"content":"[^"]/.test(text)) firstMs ??= Date.now();
  }
  return { firstMs: firstMs!, wholeMs: Date.now() };
}

async function measure(caches: Caches, visitor: Visitor): Promise<Times> {
  const port = freePort();
  const url = `http://127.0.0.1:${port}`;
  const beganMs = Date.now();
  const since = (ms: number) => (ms - beganMs) / 1000;
  const server = startServer(port, caches);
  await answers(`${url}/live`);
  const listens = since(Date.now());
  const ready = answers(`${url}/ready`)
    .then(() => ({ ready: since(Date.now()), cpu: cpuSeconds(server.pid) }));
  const { shownMs, firstMs, wholeMs } = await visitor(url);
  const { cpu, ...rest } = await ready;
  const times: Times = { listens, ...rest, first: since(firstMs), answer: since(wholeMs) };
  if (cpu !== undefined) times.cpu = cpu;
  if (shownMs !== undefined) times.page = since(shownMs);
  await endFamily(server);
  return times;
}

const PHASES = ["listens", "page", "ready", "first", "answer", "cpu"] as const;

async function main(): Promise<void> {
  const path = values.quick ? undefined : findBrowser();
  if (path === undefined) console.log("without a browser: the program asks itself");
  const dir = await Deno.makeTempDir();
  const runs: Record<"first start" | "later start", Times[]> = {
    "first start": [],
    "later start": [],
  };
  for (let round = 0; round < (values.quick ? 1 : Number(values.rounds)); round++) {
    const caches = await emptyCaches(dir);
    for (const kind of ["first start", "later start"] as const) {
      const visitor = path === undefined ? askByProgram : await openBrowser(path);
      const times = await measure(caches, visitor);
      runs[kind].push(times);
      console.log(`${kind}: ${JSON.stringify(times)}`);
    }
  }
  await Deno.remove(dir, { recursive: true });
  const shown = PHASES.filter((phase) => runs["first start"][0]![phase] !== undefined);
  const medians = Object.fromEntries(
    Object.entries(runs).map(([kind, all]) => [
      kind,
      Object.fromEntries(shown.map((phase) => [phase, median(all.map((one) => one[phase]!))])),
    ]),
  );
  const rows = Object.entries(medians)
    .map(([kind, times]) => [kind, ...shown.map((phase) => times[phase]!.toFixed(2))]);
  console.log(`\n${table([["seconds", ...shown], ...rows])}\n`);
  const { device, npx } = values;
  console.log(JSON.stringify({
    ...{ bench: "first_chat", commit: await currentCommit(), device, npx },
    hasBrowser: path !== undefined,
    medians,
    runs,
  }));
}

if (import.meta.main) await main();
