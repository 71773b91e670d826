/**
 * One GGUF file, served by Quire and by llama.cpp behind a thin server, measured by `quire bench` in
 * alternating runs: `deno run -A bench/peers/compare_servers.ts`. Every figure is computed from the
 * same events by the same formulas (docs/bench.md). Prints medians and, of runs side by side, the
 * ratio of Quire's to llama.cpp's; last one line of JSON. Where other work runs on the machine, the
 * processor seconds of a run say more than the clock, by which whoever has more threads gets more.
 *
 *     --shape NAME     the bundled model (demo, the default), or a random one, such as smollm2-135m
 *     --rounds N       measured rounds, default 3
 *     --threads N      CPU threads of each, default 1
 *     --keep DIR       keeps packages and models there for the next time
 *     -- FLAGS         for `quire bench`, in place of those below
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { parseArgs } from "node:util";
import { demoGguf } from "../../tests/support/gguf_checkpoint.ts";
import { freePort } from "../../tests/support/server_process.ts";
import { currentCommit } from "../demo.ts";
import { cpuSeconds } from "../process_cpu.ts";
import { findShape, shapeSizes } from "../shapes.ts";
import { writeGguf } from "./gguf_writer.ts";
import { installLlama } from "./install_llama.ts";
import { randomCheckpoint } from "./random_checkpoint.ts";
import { formatRates, type RateTable, ratios } from "./summary.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const SEED = 20;
/** Completions, since random models have no template; slots and sequences as many as run at once. */
const LOAD = ["--num-prompts", "16", "--max-concurrency", "4", "--input-len", "64"]
  .concat("--output-len", "32", "--ignore-eos", "--temperature", "0");
const NUM_SLOTS = "4";
const CONTEXT_LEN = "2048";
const FIGURES = [
  "median_ttft_ms",
  "median_tpot_ms",
  "median_itl_ms",
  "median_e2el_ms",
  "output_throughput",
  "total_token_throughput",
  "cpu_seconds",
];
const PEERS = ["quire", "llama"] as const;

type Peer = typeof PEERS[number];

/** Runs Deno beside this program until it ends; `ready` marks the line after which it serves. */
async function start(args: readonly string[], env: Record<string, string>, ready: string) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", XDG_RUNTIME_DIR: "/tmp", ...env },
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const { promise, resolve, reject } = Promise.withResolvers<Deno.ChildProcess>();
  (async () => {
    let text = "";
    // To the end, so that the process is never held up by what nobody reads.
    for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
      text = (text + piece).slice(-2000);
      if (text.includes(ready)) resolve(child);
    }
    reject(new Error(`it ended before it served: ${text}`));
  })();
  return await promise;
}

/** A server that runs. */
interface Running {
  readonly port: number;
  readonly child: Deno.ChildProcess;
}

/** The report of one run, with the processor time that the server took. */
async function measure(
  { port, child }: Running,
  flags: readonly string[],
): Promise<Record<string, number>> {
  const before = cpuSeconds(child.pid) ?? 0;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "main.ts", "bench", `http://127.0.0.1:${port}`]
      .concat("--endpoint", "completions", "--json", flags),
    cwd: ROOT,
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  const report = JSON.parse(new TextDecoder().decode(stdout));
  if (report.failed > 0) throw new Error(JSON.stringify(report.failures));
  return { ...report, cpu_seconds: (cpuSeconds(child.pid) ?? 0) - before };
}

async function writeModel(path: string, shape: string): Promise<void> {
  if (shape === "demo") return await Deno.writeFile(path, demoGguf("F16"));
  const config = shapeSizes(findShape(shape));
  await writeGguf(path, config, randomCheckpoint(config, SEED));
}

async function compare(dir: string, values: Options, flags: readonly string[]): Promise<void> {
  const installed = await installLlama(`${dir}/llama`);
  if ("missing" in installed) return console.log(`skipped: ${installed.missing}`);
  const { shape, threads, rounds } = values;
  const model = `${dir}/${shape}.gguf`;
  await writeModel(model, shape);
  const [quirePort, llamaPort] = [freePort(), freePort()];
  const quire = await start(
    ["main.ts", "serve", model, "--port", String(quirePort), "--prefix-store", "none"]
      .concat("--max-model-len", CONTEXT_LEN, "--max-num-seqs", NUM_SLOTS),
    { LP_NUM_THREADS: threads },
    "Ready",
  );
  const llama = await start(
    ["--no-config", "--node-modules-dir=manual", "bench/peers/llama_server.ts", installed.dir]
      .concat(model, "--port", String(llamaPort), "--context", CONTEXT_LEN)
      .concat("--slots", NUM_SLOTS, "--threads", threads),
    {},
    "Ready",
  );
  const running = {
    quire: { port: quirePort, child: quire },
    llama: { port: llamaPort, child: llama },
  };
  try {
    await report(await measureBoth(running, { rounds, flags }), { shape, threads, flags });
  } finally {
    for (const { child } of Object.values(running)) child.kill("SIGKILL");
  }
}

async function measureBoth(
  running: Readonly<Record<Peer, Running>>,
  { rounds, flags }: { readonly rounds: string; readonly flags: readonly string[] },
): Promise<RateTable> {
  const table: Record<string, Record<Peer, number[]>> = Object.fromEntries(
    FIGURES.map((figure) => [figure, { quire: [], llama: [] }]),
  );
  // The first round, which finds nothing compiled, does not count.
  for (let round = 0; round <= Number(rounds); round++) {
    for (const peer of round % 2 === 0 ? PEERS : PEERS.toReversed()) {
      const report = await measure(running[peer], [...flags, "--seed", String(round)]);
      console.log(
        `round ${round}, ${peer}: ${FIGURES.map((f) => report[f]!.toFixed(1)).join("  ")}`,
      );
      if (round > 0) FIGURES.forEach((figure) => table[figure]![peer].push(report[figure]!));
    }
  }
  return table;
}

async function report(
  table: RateTable,
  settings: Readonly<Record<"shape" | "threads", string>> & { readonly flags: readonly string[] },
): Promise<void> {
  console.log(`\n${formatRates("", table, PEERS, "llama")}\n`);
  console.log(JSON.stringify({
    ...{ bench: "servers", commit: await currentCommit(), ...settings },
    ratios: ratios(table, "quire", "llama"),
    table,
  }));
}

type Options = ReturnType<typeof options>["values"];

function options() {
  return parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: {
      shape: { type: "string", default: "demo" },
      rounds: { type: "string", default: "3" },
      threads: { type: "string", default: "1" },
      keep: { type: "string" },
    },
  });
}

if (import.meta.main) {
  const { values, positionals } = options();
  const dir = values.keep ?? await Deno.makeTempDir({ prefix: "quire-servers-" });
  try {
    await compare(dir, values, positionals.length > 0 ? positionals : LOAD);
  } finally {
    if (values.keep === undefined) await Deno.remove(dir, { recursive: true });
  }
  Deno.exit(0);
}
