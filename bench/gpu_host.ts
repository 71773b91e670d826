/**
 * `deno task bench:gpu-host`: everything worth knowing of a GPU in one go, for a host that may have no
 * network and is ours for minutes only.
 *
 * Runs all kernels and models against their definitions, then the benches of kernels, models and cache,
 * and writes one JSON file, `bench/results/<adapter>-<commit>.json`, after each part, so that a host
 * that goes away early leaves what was measured. It goes on where a part fails and says so.
 * `bench/readme_table.ts` makes README's table of the file. `--quick` runs few and small steps of one
 * shape, and no tests.
 * `bench/pack_gpu_host.sh FILE.tar.xz` packs what such a host lacks, down to `deno` itself;
 * `bench/run_gpu_host.sh` starts it there.
 */
// deno-lint-ignore-file no-console -- this is a command line program

import { currentCommit } from "./demo.ts";
import { fileName } from "./results.ts";

const ROOT = new URL("../", import.meta.url);
const TESTS = ["tests/device", "tests/kernels", "tests/runner", "tests/models"];
const BENCHES = [
  ["bench/kernels.ts", "--shape"],
  ["bench/model_shapes.ts", "--tune", "--shape"],
  ["bench/model.ts"],
  ["bench/encode_ahead.ts", "--shape"],
  ["bench/cache_overhead.ts"],
];

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

/** What to run, most important first. */
export function commands(isQuick: boolean): string[][] {
  const shapes = isQuick ? ["tiny", "--quick"] : ["all"];
  const benches = BENCHES.map(([file, ...flags]) => [
    ...["run", "-A", "--no-check", file!, ...flags],
    ...flags.at(-1) === "--shape" ? shapes : [],
  ]);
  if (isQuick) return benches.slice(0, 2);
  return [["test", "-A", "--no-check", ...TESTS], ...benches];
}

async function main(): Promise<boolean> {
  const adapter = await describeAdapter();
  console.log(adapter);
  const isQuick = Deno.args.includes("--quick");
  const host = {
    date: new Date().toISOString(),
    commit: await currentCommit(),
    deno: Deno.version.deno,
  };
  // Git ignores local files: a quick run is no result.
  const prefix = isQuick ? "local-" : "";
  const name = `${prefix}${fileName(String(adapter.description))}-${host.commit}`;
  const file = new URL(`results/${name}.json`, import.meta.url);
  await Deno.mkdir(new URL("results/", import.meta.url), { recursive: true });
  const parts: Part[] = [];
  for (const args of commands(isQuick)) {
    parts.push(await run(args));
    await Deno.writeTextFile(file, `${JSON.stringify({ ...host, adapter, parts }, null, 2)}\n`);
  }
  console.log(`\nwritten to ${file.pathname}`);
  for (const { command, isOk, seconds } of parts) {
    console.log(`${isOk ? "ok    " : "FAILED"} ${seconds.toFixed(0).padStart(4)} s  ${command}`);
  }
  return parts.every(({ isOk }) => isOk);
}

if (import.meta.main) Deno.exit(await main() ? 0 : 1);
