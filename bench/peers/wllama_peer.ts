/**
 * llama.cpp in a browser: `deno run -A --no-config --node-modules-dir=manual
 * bench/peers/wllama_peer.ts INSTALL_DIR MODEL.gguf CHROMIUM`, driven by `wllama.ts`.
 *
 * Serves the pages of `@wllama/wllama` to a headless Chromium that may use WebGPU on whatever adapter
 * it finds. The model asks for all layers on the GPU; where it ends up, the greeting says.
 */
import { type PeerAnswer, type PeerTask, servePeer } from "./peer_task.ts";

/** What the page's library needs to run WASM with shared memory. */
const HEADERS = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
};
const TYPES: Readonly<Record<string, string>> = {
  js: "text/javascript",
  wasm: "application/wasm",
  html: "text/html",
};
const CONTEXT_LEN = 1024;

/** What is used of a page of `playwright-core`. */
interface Page {
  on(event: "console", listener: (message: { text(): string }) => void): void;
  goto(url: string): Promise<unknown>;
  // deno-lint-ignore no-explicit-any -- runs in the page
  evaluate<T>(run: (input: any) => Promise<T>, input: unknown): Promise<T>;
}

/** Serves the library, the model, and an empty page. */
function servePages(installDir: string, model: string): string {
  const library = `${installDir}/node_modules/@wllama/wllama/esm`;
  const options = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
  const server = Deno.serve(options, async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/") {
      return new Response("", { headers: { ...HEADERS, "content-type": "text/html" } });
    }
    const path = pathname === "/model.gguf" ? model : library + pathname;
    const type = TYPES[path.split(".").at(-1)!] ?? "application/octet-stream";
    try {
      const { readable } = await Deno.open(path);
      return new Response(readable, { headers: { ...HEADERS, "content-type": type } });
    } catch {
      return new Response("", { status: 404, headers: HEADERS });
    }
  });
  return `http://127.0.0.1:${server.addr.port}`;
}

/** The adapter that a page gets, in words. */
function describeAdapter(page: Page): Promise<string> {
  return page.evaluate(async () => {
    // deno-lint-ignore no-explicit-any -- this project's types of WebGPU are not here
    const adapter = await (navigator as any).gpu?.requestAdapter();
    if (!adapter) return "no adapter";
    const { vendor, architecture } = adapter.info;
    const f16 = adapter.features.has("shader-f16") ? "with" : "without";
    return `adapter ${vendor} ${architecture} ${f16} shader-f16`;
  }, undefined);
}

/** Loads the model in the page. */
function load(page: Page, url: string): Promise<void> {
  return page.evaluate(async ({ url, contextLen }) => {
    const { Wllama } = await import(`${url}/index.js`);
    const managers = { allowOffline: true, cacheManager: {}, modelManager: {} };
    const wllama = new Wllama({ default: `${url}/wasm/wllama.wasm` }, managers);
    const blob = await (await fetch(`${url}/model.gguf`)).blob();
    await wllama.loadModel([blob], { n_gpu_layers: 99, n_ctx: contextLen });
    Object.assign(globalThis, { wllama });
  }, { url, contextLen: CONTEXT_LEN });
}

/** What the library tells of an answer. */
interface Timings {
  readonly prompt_ms: number;
  readonly prompt_n: number;
  readonly predicted_ms: number;
  readonly predicted_n: number;
}

async function serve(page: Page, { promptLen, outputLen, seed }: PeerTask): Promise<PeerAnswer> {
  // The vocabulary of `writeGguf` has a token per byte, and no two prompts begin alike.
  const prompt = Array.from(
    { length: promptLen },
    (_, i) => String.fromCharCode(97 + (seed * 31 + i * 7 + i * i) % 26),
  ).join("");
  const timings = await page.evaluate<Timings>(async (options) => {
    // deno-lint-ignore no-explicit-any -- set by `load`
    const { timings } = await (globalThis as any).wllama.createCompletion(options);
    return timings;
  }, { prompt, max_tokens: outputLen, temperature: 0, ignore_eos: true });
  return {
    prefillMs: timings.prompt_ms / timings.prompt_n * promptLen,
    decodeMs: timings.predicted_ms,
    decodeTokens: timings.predicted_n,
    // Of processes that are not ours.
    prefillCpuMs: 0,
    decodeCpuMs: 0,
    tokens: [],
  };
}

async function main([installDir, model, executablePath]: readonly string[]): Promise<void> {
  const entry = `file://${installDir}/node_modules/playwright-core/index.mjs`;
  const { chromium } = await import(entry);
  const args = ["--no-sandbox", "--enable-unsafe-webgpu", "--disable-dev-shm-usage"];
  const browser = await chromium.launch({ executablePath, args });
  const page: Page = await browser.newPage();
  const places: string[] = [];
  page.on("console", (message) => {
    const [, place] = /load_tensors:\s+(\S+) model buffer size/.exec(message.text()) ?? [];
    if (place !== undefined) places.push(place);
  });
  const url = servePages(installDir!, model!);
  await page.goto(`${url}/`);
  const adapter = await describeAdapter(page);
  await load(page, url);
  const place = places.length === 0 ? "an unknown place" : places.join(" and ");
  const description = `wllama in Chromium ${browser.version()}, ${adapter}, weights on ${place}`;
  await servePeer({ description }, (task) => serve(page, task));
  await browser.close();
  Deno.exit(0);
}

if (import.meta.main) await main(Deno.args);
