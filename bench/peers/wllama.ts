/**
 * Quire beside llama.cpp in a browser: the same random Llama of the shape of SmolLM2-135M in f16 in Quire
 * on the adapter that Deno finds, and in `@wllama/wllama` (llama.cpp as WASM, with a backend for
 * WebGPU) in a headless Chromium on the adapter that that one finds; alternating runs.
 *
 *     deno run -A bench/peers/wllama.ts [--rounds N] [--threads N] [--keep DIR] [--chromium PATH]
 *
 * Needs npm and Chromium; without them it says so and exits with 0. The last line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { parseArgs } from "node:util";
import { currentCommit } from "../demo.ts";
import { findShape, shapeSizes } from "../shapes.ts";
import { writeGguf } from "./gguf_writer.ts";
import { PeerProcess } from "./peer_process.ts";
import type { PeerTask } from "./peer_task.ts";
import { randomCheckpoint } from "./random_checkpoint.ts";
import { writeSafetensors } from "./safetensors_writer.ts";
import { formatRates, ratios } from "./summary.ts";

const PACKAGES = { "@wllama/wllama": "3.8.1", "playwright-core": "1.65.1" };
const SHAPE = "smollm2-135m";
const SEED = 20;
const TASK = { batch: 1, promptLen: 32, outputLen: 9 };

async function install(dir: string): Promise<void> {
  await Deno.mkdir(dir, { recursive: true });
  const project = { type: "module", private: true, dependencies: PACKAGES };
  await Deno.writeTextFile(`${dir}/package.json`, JSON.stringify(project));
  const args = ["install", "--ignore-scripts", "--no-audit", "--no-fund"];
  const { success, stderr } = await new Deno.Command("npm", { args, cwd: dir }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

async function writeModels(dir: string): Promise<void> {
  const shape = findShape(SHAPE);
  const config = shapeSizes(shape);
  const tensors = randomCheckpoint(config, SEED);
  await Deno.mkdir(dir, { recursive: true });
  await writeGguf(`${dir}/model.gguf`, config, tensors);
  await writeSafetensors(dir, shape, tensors);
}

function startPeers(dir: string, chromium: string, numThreads: string) {
  const config = decodeURIComponent(new URL("../../deno.json", import.meta.url).pathname);
  return Promise.all([
    PeerProcess.start("quire_peer.ts", {
      args: [`${dir}/model`],
      options: ["--config", config],
      env: { LP_NUM_THREADS: numThreads },
    }),
    PeerProcess.start("wllama_peer.ts", {
      args: [`${dir}/packages`, `${dir}/model/model.gguf`, chromium],
      options: ["--no-config", "--node-modules-dir=manual"],
    }),
  ]);
}

async function compare(
  dir: string,
  { chromium, rounds, threads }: { chromium: string; rounds: string; threads: string },
): Promise<void> {
  await install(`${dir}/packages`);
  await writeModels(`${dir}/model`);
  const [quire, wllama] = await startPeers(dir, chromium, threads);
  const peers = { quire, wllama };
  for (const [name, { description }] of Object.entries(peers)) {
    console.log(`${name.padEnd(10)}${description}`);
  }
  const rates = {
    prefill: { quire: [] as number[], wllama: [] as number[] },
    decode_b1: { quire: [] as number[], wllama: [] as number[] },
  };
  // Round 0 warms up.
  for (let round = 0; round <= Number(rounds); round++) {
    for (const name of ["quire", "wllama"] as const) {
      const task: PeerTask = { ...TASK, seed: 1 + round };
      const answer = await peers[name].serve(task);
      if (round === 0) continue;
      rates.prefill[name].push(task.promptLen / answer.prefillMs * 1000);
      rates.decode_b1[name].push(answer.decodeTokens / answer.decodeMs * 1000);
    }
  }
  await quire.close();
  await wllama.close();
  console.log(`\n${formatRates("tokens/s", rates, ["quire", "wllama"], "wllama")}\n`);
  const result = {
    bench: "wllama",
    shape: SHAPE,
    commit: await currentCommit(),
    peers: { quire: quire.description, wllama: wllama.description },
    ratios: ratios(rates, "quire", "wllama"),
    rates,
  };
  console.log(JSON.stringify(result));
}

/** Says why there is nothing to compare; that is no failure. */
async function missing(chromium: string): Promise<string | undefined> {
  for (const program of ["npm", chromium]) {
    try {
      await new Deno.Command(program, { args: ["--version"], stdout: "null" }).output();
    } catch {
      return `${program} cannot be started`;
    }
  }
  return undefined;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "3" },
      threads: { type: "string", default: "1" },
      keep: { type: "string" },
      chromium: { type: "string", default: "chromium" },
    },
  });
  const reason = await missing(values.chromium);
  if (reason !== undefined) {
    console.log(`skipped: ${reason}`);
    console.log(JSON.stringify({ bench: "wllama", skipped: reason }));
    return;
  }
  const found = await new Deno.Command("which", { args: [values.chromium] }).output();
  const chromium = new TextDecoder().decode(found.stdout).trim() || values.chromium;
  const dir = values.keep ?? await Deno.makeTempDir({ prefix: "quire-wllama-" });
  try {
    await compare(dir, { ...values, chromium });
  } finally {
    if (values.keep === undefined) await Deno.remove(dir, { recursive: true });
  }
}

if (import.meta.main) await main();
