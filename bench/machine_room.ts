/**
 * What five viewers of the machine room cost the server: the same work with and without them, in
 * alternating runs, in processor time of the whole process per step. A machine that others use as
 * well changes these by some percent from run to run, so what one frame takes is measured alone too:
 * the engine's part and the part of the isolate that answers requests, in a full pool. Eight requests draw tokens
 * from the bundled model on the CPU device, whose steps are short beside those of models that are
 * worth serving. The last line is JSON.
 *
 *     deno run -A bench/machine_room.ts [--blocks 4096,100000] [--rounds 8] [--quick]
 *
 * Reads the server's processor times from `/proc`: elsewhere than on Linux it measures frames alone.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import process from "node:process";
import { parseArgs } from "node:util";
import { zeroStats } from "../src/core/engine_stats.ts";
import type { EngineView } from "../src/core/engine_view.ts";
import { makeFrame } from "../src/http/machine/machine_frame.ts";
import { BlockManager } from "../src/kvcache/block_manager.ts";
import { currentCommit } from "./demo.ts";
import { cpuSeconds } from "./process_cpu.ts";
import { complete, numStepsOf } from "./served_steps.ts";
import { ServerProcess } from "../tests/support/server_process.ts";
import { median } from "./median.ts";

const NUM_VIEWERS = 5;
const NUM_REQUESTS = 8;

const { values } = parseArgs({
  options: {
    blocks: { type: "string", default: "4096,100000" },
    rounds: { type: "string", default: "8" },
    quick: { type: "boolean", default: false },
  },
});
const numRounds = values.quick ? 1 : Number(values.rounds);
const numTokens = values.quick ? 8 : 120;

/** What a run took. */
interface Run {
  readonly cpuMs: number;
  readonly numSteps: number;
  readonly seconds: number;
  readonly numFrames: number;
  readonly numBytes: number;
}

async function generate(server: ServerProcess, round: number): Promise<void> {
  const fields = { max_tokens: numTokens, temperature: 1, seed: 0 };
  await complete(server, { count: NUM_REQUESTS, round, fields });
}

/** Reads one viewer's stream until it is left. */
async function view(
  server: ServerProcess,
  signal: AbortSignal,
  seen: { frames: number; bytes: number },
) {
  try {
    const response = await server.fetch("/admin/machine", { signal });
    for await (const bytes of response.body!) {
      seen.bytes += bytes.length;
      seen.frames += new TextDecoder().decode(bytes).split("\n\n").length - 1;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

async function measure(server: ServerProcess, round: number, numViewers: number): Promise<Run> {
  const { pid } = server;
  const abort = new AbortController();
  const seen = { frames: 0, bytes: 0 };
  const viewers = Array.from({ length: numViewers }, () => view(server, abort.signal, seen));
  await new Promise((resolve) => setTimeout(resolve, 500));
  const [before, stepsBefore, began] = [
    cpuSeconds(pid)!,
    await numStepsOf(server),
    performance.now(),
  ];
  await generate(server, round);
  const seconds = (performance.now() - began) / 1000;
  const cpu = 1000 * (cpuSeconds(pid)! - before);
  const numSteps = await numStepsOf(server) - stepsBefore;
  abort.abort();
  await Promise.all(viewers);
  return { cpuMs: cpu, numSteps, seconds, numFrames: seen.frames, numBytes: seen.bytes };
}

async function compare(numBlocks: number) {
  const server = await ServerProcess.start([
    ...["--device", "cpu", "--num-gpu-blocks-override", `${numBlocks}`, "--log-level", "error"],
  ]);
  await generate(server, -1);
  const plain: Run[] = [];
  const watched: Run[] = [];
  for (let round = 0; round < numRounds; round++) {
    // The pair's order alternates, so that a drift of the machine favours neither.
    const first = round % 2 === 0 ? 0 : NUM_VIEWERS;
    for (const numViewers of [first, NUM_VIEWERS - first]) {
      const run = await measure(server, round, numViewers);
      (numViewers === 0 ? plain : watched).push(run);
    }
  }
  await server.stop();
  const perStep = (runs: readonly Run[]) => median(runs.map((run) => run.cpuMs / run.numSteps));
  const ratios = watched.map((run, i) =>
    run.cpuMs / run.numSteps / (plain[i]!.cpuMs / plain[i]!.numSteps)
  );
  const last = watched.at(-1)!;
  return {
    numBlocks,
    cpuMsPerStep: perStep(plain),
    watchedCpuMsPerStep: perStep(watched),
    ratio: median(ratios),
    ratios,
    framesPerSecond: last.numFrames / NUM_VIEWERS / last.seconds,
    bytesPerSecondAndViewer: last.numBytes / NUM_VIEWERS / last.seconds,
  };
}

/** A pool in which sequences share a prefix, two thirds of them ended, and as few blocks are free. */
function fullPool(numBlocks: number): BlockManager {
  const keySpace = { secret: new Uint8Array(32), modelFingerprint: "", layout: "" };
  const blocks = new BlockManager({ numBlocks, blockSize: 16, prefixCache: { keySpace } });
  for (let id = 0; blocks.numFree > numBlocks / 4; id++) {
    const tokens = new Uint32Array(16 * 100).map((_, i) => i < 320 ? i : 7 * id + i);
    blocks.tryAdmit(id, tokens);
    blocks.markComputed(id, tokens, tokens.length);
    if (id % 3 !== 0) blocks.free(id);
  }
  return blocks;
}

/** Processor time of a call, ms, the mean of some seconds of them. */
function timeOf(call: (i: number) => void): number {
  const numCalls = values.quick ? 2 : 200;
  for (let i = 0; i < numCalls / 4; i++) call(i);
  const before = process.cpuUsage();
  for (let i = 0; i < numCalls; i++) call(i);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / numCalls;
}

/** What a frame takes, ms: with the tree in one of four. */
function timeFrames(numBlocks: number) {
  const blocks = fullPool(numBlocks);
  const view = (i: number): EngineView => {
    const tree = i % 4 === 0 ? blocks.viewTree(160) : undefined;
    return {
      ...{ step: i, blockSize: 16, groups: ["full"], blocks: blocks.mapBlocks() },
      ...(tree === undefined ? {} : { tree }),
      ...{ sequences: [], numHidden: 0, steps: [], chunks: [], tookMs: 0 },
    };
  };
  // As it crosses from one isolate to the other.
  const engineMs = timeOf((i) => void structuredClone(view(i)));
  const views = [view(0), view(1)];
  const encoder = new TextEncoder();
  const hostMs = timeOf((i) => {
    const engine = { numRestarts: 0, notice: undefined };
    const parts = {
      frame: i,
      timeMs: 0,
      stats: zeroStats(),
      engine,
      moment: undefined,
      decisions: [],
    };
    const now = views[i % 2]!;
    const frame = makeFrame({ ...parts, view: now, before: views[0]!.blocks, tree: now.tree });
    for (let viewer = 0; viewer < NUM_VIEWERS; viewer++) encoder.encode(frame.change());
  });
  return { engineMs, hostMs };
}

const results = [];
for (const numBlocks of values.blocks.split(",").map(Number)) {
  const { engineMs, hostMs } = timeFrames(numBlocks);
  results.push({ numBlocks, engineMs, hostMs });
  console.log(
    `${numBlocks} blocks, ms per frame: engine ${engineMs.toFixed(3)}, host ${hostMs.toFixed(3)}`,
  );
}
console.log("blocks    CPU ms/step   watched   ratio   frames/s   KB/s of a viewer");
const sizes = values.blocks.split(",").map(Number);
for (const numBlocks of Deno.build.os === "linux" ? sizes : []) {
  const result = await compare(numBlocks);
  Object.assign(results.find((each) => each.numBlocks === numBlocks)!, result);
  console.log(
    `${String(numBlocks).padEnd(9)} ${result.cpuMsPerStep.toFixed(3).padStart(11)} ` +
      `${result.watchedCpuMsPerStep.toFixed(3).padStart(9)} ${
        result.ratio.toFixed(3).padStart(7)
      } ` +
      `${result.framesPerSecond.toFixed(2).padStart(10)} ` +
      `${(result.bytesPerSecondAndViewer / 1000).toFixed(1).padStart(18)}`,
  );
}
console.log(JSON.stringify({ bench: "machine_room", commit: await currentCommit(), results }));
