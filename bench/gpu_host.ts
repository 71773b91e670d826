/**
 * `deno task bench:gpu-host`: everything worth knowing of a GPU in one go, for a host that may have no
 * network and is ours for minutes only.
 *
 * Runs all kernels and models against their definitions, then the benches of kernels, models and cache,
 * and writes one JSON file, `bench/results/<adapter>-<commit>.json`, after each part, so that a host
 * that goes away early leaves what was measured. It goes on where a part fails and says so.
 * `bench/readme_table.ts` makes a table of the file. `--quick` runs few and small steps of one
 * shape, and no tests; `--only TEXT` the parts whose command has TEXT in it, where a run is cut short.
 * `bench/pack_gpu_host.sh FILE.tar.xz` packs what such a host lacks, down to `deno` itself;
 * `bench/run_gpu_host.sh` starts it there.
 */
// deno-lint-ignore-file no-console -- this is a command line program

import { parseArgs } from "node:util";
import { dawnProvider } from "../src/device/dawn_provider.ts";
import { currentCommit } from "./demo.ts";
import { fileName } from "./results.ts";

const ROOT = new URL("../", import.meta.url);
const TESTS = ["tests/device", "tests/kernels", "tests/runner", "tests/models"];
const BENCHES = [
  ["bench/kernels.ts", "--shape"],
  ["bench/model_shapes.ts", "--tune", "--shape"],
  ["bench/model.ts"],
  ["bench/encode_ahead.ts", "--shape"],
  ["bench/decode_steps.ts", "--shape"],
  ["bench/cache_overhead.ts"],
];

/** What is run again on Dawn where npm's `webgpu` is installed: it alone has matrix units. */
const DAWN_BENCHES = BENCHES.slice(0, 2).map(([file, ...flags]) => [
  ...[file!, "--gpu-backend", "dawn"],
  ...flags,
]);

/** One command of the run: how it ended, and its last line where that is JSON. */
interface Part {
  readonly command: string;
  readonly isOk: boolean;
  readonly seconds: number;
  readonly result?: unknown;
}

async function run(args: readonly string[], env: Record<string, string>): Promise<Part> {
  const command = `deno ${args.join(" ")}`;
  console.log(`\n$ ${command}`);
  const began = performance.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", QUIRE_REQUIRE_GPU: "1", ...env },
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

/** Arguments of `deno`, and what is set in its environment. */
interface Command {
  readonly args: readonly string[];
  readonly env: Record<string, string>;
}

/** What to run, most important first. */
function commands(isQuick: boolean, hasDawn: boolean): Command[] {
  const shapes = isQuick ? ["tiny", "--quick"] : ["all"];
  const bench = ([file, ...flags]: readonly string[]): Command => ({
    args: [
      ...["run", "-A", "--no-check", file!, ...flags],
      ...flags.at(-1) === "--shape" ? shapes : [],
    ],
    env: {},
  });
  const test = (paths: readonly string[], env: Record<string, string> = {}): Command => ({
    args: ["test", "-A", "--no-check", ...paths],
    env,
  });
  const dawnBenches = hasDawn ? DAWN_BENCHES.map(bench) : [];
  if (isQuick) return [...BENCHES.slice(0, 2).map(bench), ...dawnBenches];
  const dawnTests = hasDawn ? [test(["tests/kernels"], { QUIRE_TEST_GPU_BACKEND: "dawn" })] : [];
  return [test(TESTS), ...BENCHES.map(bench), ...dawnTests, ...dawnBenches];
}

async function main(): Promise<boolean> {
  const adapter = await describeAdapter();
  console.log(adapter);
  const { values: { quick: isQuick, only } } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      only: { type: "string", default: "" },
    },
  });
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
  const hasDawn = await dawnProvider(ROOT.pathname).then(() => true, () => false);
  for (const { args, env } of commands(isQuick, hasDawn)) {
    if (!args.join(" ").includes(only)) continue;
    parts.push(await run(args, env));
    await Deno.writeTextFile(file, `${JSON.stringify({ ...host, adapter, parts }, null, 2)}\n`);
  }
  console.log(`\nwritten to ${file.pathname}`);
  for (const { command, isOk, seconds } of parts) {
    console.log(`${isOk ? "ok    " : "FAILED"} ${seconds.toFixed(0).padStart(4)} s  ${command}`);
  }
  return parts.every(({ isOk }) => isOk);
}

if (import.meta.main) Deno.exit(await main() ? 0 : 1);
