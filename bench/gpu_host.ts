/**
 * `deno task bench:gpu-host`: everything worth knowing of a GPU in one go, for a host that may have no
 * network and is ours for minutes only.
 *
 * Runs all kernels and models against their definitions, then the benches of model and cache, and writes
 * one JSON file, `bench/results/host-<adapter>-<commit>.json`. It goes on where a part fails and says so.
 * Such a host needs the repository, the `deno` binary, a Vulkan loader with the GPU's driver, and a
 * `DENO_DIR` filled elsewhere by `deno install --entrypoint main.ts bench/*.ts tests/kernels/*.ts`.
 */
// deno-lint-ignore-file no-console -- this is a command line program

import { currentCommit } from "./demo.ts";

const ROOT = new URL("../", import.meta.url);
const TESTS = ["tests/device", "tests/kernels", "tests/runner", "tests/models"];
const BENCHES = ["bench/model.ts", "bench/cache_overhead.ts"];

/** One command of the run: how it ended, and its last line where that is JSON. */
interface Part {
  readonly command: string;
  readonly isOk: boolean;
  readonly seconds: number;
  readonly result?: unknown;
}

async function run(args: readonly string[]): Promise<Part> {
  const command = `deno ${args.join(" ")}`;
  console.log(`\n$ ${command}`);
  const began = performance.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", QUIRE_REQUIRE_GPU: "1" },
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let text = "";
  for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
    Deno.stdout.writeSync(new TextEncoder().encode(piece));
    text += piece;
  }
  const { success } = await child.status;
  const seconds = (performance.now() - began) / 1000;
  const result = lastJson(text);
  return { command, isOk: success, seconds, ...(result === undefined ? {} : { result }) };
}

function lastJson(text: string): unknown {
  const line = text.trimEnd().split("\n").at(-1) ?? "";
  return line.startsWith("{") ? JSON.parse(line) : undefined;
}

async function describeAdapter(): Promise<Record<string, unknown>> {
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) throw new Error("no WebGPU adapter: nothing to measure");
  const { info, limits, features } = adapter;
  return {
    description: info.description,
    vendor: info.vendor,
    isFallback: info.isFallbackAdapter,
    subgroups: [info.subgroupMinSize, info.subgroupMaxSize],
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
    maxBufferSize: limits.maxBufferSize,
    features: [...features],
  };
}

async function main(): Promise<boolean> {
  const adapter = await describeAdapter();
  console.log(adapter);
  const parts = [await run(["test", "-A", "--no-check", ...TESTS])];
  for (const bench of BENCHES) parts.push(await run(["run", "-A", "--no-check", bench]));
  const name = String(adapter.description).toLowerCase().replace(/[^a-z0-9]+/g, "-");
  const host = {
    date: new Date().toISOString(),
    commit: await currentCommit(),
    deno: Deno.version.deno,
  };
  const file = new URL(
    `results/host-${name.replace(/-$/, "")}-${host.commit}.json`,
    import.meta.url,
  );
  await Deno.mkdir(new URL("results/", import.meta.url), { recursive: true });
  await Deno.writeTextFile(file, `${JSON.stringify({ ...host, adapter, parts }, null, 2)}\n`);
  console.log(`\nwritten to ${file.pathname}`);
  for (const { command, isOk, seconds } of parts) {
    console.log(`${isOk ? "ok    " : "FAILED"} ${seconds.toFixed(0).padStart(4)} s  ${command}`);
  }
  return parts.every(({ isOk }) => isOk);
}

if (import.meta.main) Deno.exit(await main() ? 0 : 1);
