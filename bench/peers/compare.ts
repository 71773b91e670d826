/**
 * `deno task bench:peers`: Quire beside llama.cpp, the same random model, in alternating runs.
 *
 * Writes a Llama of the shape of SmolLM2-135M with seeded f16 weights twice, as safetensors for Quire
 * and as GGUF for llama.cpp, checks that both compute the same, and measures prefill and decode of
 * equal requests. Columns: Quire on the software adapter (and on a GPU where there is one), llama.cpp
 * on the CPU, and llama.cpp's own Vulkan backend on the software adapter, which is so slow that it is
 * given less to do. Prints tables, by the clock and by processor time, and last one line of JSON. Exits with 1 where the models differ.
 *
 *     --quick          a tiny model, two rounds, no Vulkan column: proves that all of it works
 *     --rounds N       measured rounds, default 5
 *     --threads N      CPU threads of each, default 2
 *     --no-vulkan      leaves that column out
 *     --patience S     waits up to S seconds before each run for other work to end, default 0
 *     --keep DIR       keeps packages and models there for the next time
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { parseArgs } from "node:util";
import { currentCommit } from "../demo.ts";
import { findShape, shapeSizes } from "../shapes.ts";
import { compareAnswers } from "./agreement.ts";
import { writeGguf } from "./gguf_writer.ts";
import { installLlama } from "./install_llama.ts";
import type { PeerProcess } from "./peer_process.ts";
import { type MeasuredPeers, measurePeers } from "./measure_peers.ts";
import type { PeerTask } from "./peer_task.ts";
import { BASELINE, startPeers } from "./peers.ts";
import { randomCheckpoint } from "./random_checkpoint.ts";
import { writeSafetensors } from "./safetensors_writer.ts";
import { formatRates, ratios } from "./summary.ts";

const SEED = 20;
const CHECK: PeerTask = { batch: 4, promptLen: 40, outputLen: 8, seed: 1, wantsLogprobs: true };

async function writeModels(dir: string, shapeName: string): Promise<void> {
  const shape = findShape(shapeName);
  const config = shapeSizes(shape);
  const tensors = randomCheckpoint(config, SEED);
  await Deno.mkdir(dir, { recursive: true });
  await writeGguf(`${dir}/model.gguf`, config, tensors);
  await writeSafetensors(dir, shape, tensors);
}

/** Asks all peers the same and compares each with the baseline. */
async function check(peers: ReadonlyMap<string, PeerProcess>, isBrief: (peer: string) => boolean) {
  const expected = await peers.get(BASELINE)!.serve(CHECK);
  const found: Record<string, unknown> = {};
  for (const [name, peer] of peers) {
    if (name === BASELINE || isBrief(name)) continue;
    const agreement = compareAnswers(await peer.serve(CHECK), expected);
    const { numEqual, numSteps, worst } = agreement;
    console.log(
      `${name}: the same tokens as ${BASELINE} in ${numEqual} of ${numSteps} steps, ` +
        `log-probabilities within ${worst.toFixed(3)}`,
    );
    found[name] = agreement;
  }
  return found;
}

async function compare(dir: string, values: Options): Promise<boolean> {
  const installed = await installLlama(`${dir}/llama`);
  if ("missing" in installed) return skip(installed.missing);
  const shape = values.quick ? "tiny" : "smollm2-135m";
  const modelDir = `${dir}/${shape}`;
  await writeModels(modelDir, shape);
  const peers = await startPeers({
    modelDir,
    llamaDir: installed.dir,
    numThreads: Number(values.threads),
    withVulkan: !values.quick && !values["no-vulkan"],
  });
  if (typeof peers === "string") return skip(peers);
  for (const [name, { description }] of peers) console.log(`${name.padEnd(14)}${description}`);
  const isBrief = (peer: string) => peer === "llama_vulkan";
  const numRounds = values.quick ? 2 : Number(values.rounds);
  const agreement = await check(peers, isBrief);
  const { rates, processorRates, othersBusy } = await measurePeers(peers, isBrief, {
    numRounds,
    isQuick: values.quick === true,
    patienceMs: 1000 * Number(values.patience),
    progress: console.log,
  });
  for (const peer of peers.values()) await peer.close();
  report([...peers.keys()], { rates, processorRates, othersBusy });
  const result = {
    ratios: ratios(rates, "quire", BASELINE),
    ...(peers.has("quire_gpu") ? { gpuRatios: ratios(rates, "quire_gpu", BASELINE) } : {}),
    processorRatios: ratios(processorRates, "quire", BASELINE),
    bench: "peers",
    shape,
    commit: await currentCommit(),
    peers: Object.fromEntries([...peers].map(([name, { description }]) => [name, description])),
    agreement,
    numRounds,
    numThreads: Number(values.threads),
    othersBusy,
    rates,
    processorRates,
  };
  console.log(`\n${JSON.stringify(result)}`);
  return true;
}

function report(
  peers: readonly string[],
  { rates, processorRates, othersBusy }: MeasuredPeers,
): void {
  console.log(`\n${formatRates("tokens/s", rates, peers, BASELINE)}\n`);
  console.log(`${formatRates("tokens/cpu-s", processorRates, peers, BASELINE)}\n`);
  console.log("Ratios are medians of runs side by side.");
  if (!(othersBusy > 0.1)) return;
  console.log(
    `Other work took ${(100 * othersBusy).toFixed(0)} % of the machine. Threads that wait`,
  );
  console.log(
    "for each other, llama.cpp's above all, suffer most from that: do not believe the first",
  );
  console.log("table. With --threads 1 nothing waits, and the second one can be believed.");
}

/** Says why there is nothing to compare; that is no failure. */
function skip(reason: string): boolean {
  console.log(`skipped: ${reason}`);
  console.log(JSON.stringify({ bench: "peers", skipped: reason }));
  return true;
}

type Options = ReturnType<typeof options>;

function options() {
  return parseArgs({
    args: Deno.args,
    options: {
      quick: { type: "boolean" },
      rounds: { type: "string", default: "5" },
      threads: { type: "string", default: "2" },
      patience: { type: "string", default: "0" },
      "no-vulkan": { type: "boolean" },
      keep: { type: "string" },
    },
  }).values;
}

async function main(): Promise<boolean> {
  const values = options();
  const dir = values.keep ?? await Deno.makeTempDir({ prefix: "quire-peers-" });
  try {
    return await compare(dir, values);
  } finally {
    if (values.keep === undefined) await Deno.remove(dir, { recursive: true });
  }
}

if (import.meta.main) Deno.exit(await main() ? 0 : 1);
