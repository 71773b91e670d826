import { cpuUsage } from "node:process";
import type { DeviceChoice, EngineConfig } from "../src/core/engine_config.ts";
import type { EngineStats } from "../src/core/engine_stats.ts";
import type { FromEngine } from "../src/engine/messages.ts";
import { EngineSession } from "../src/engine/engine_session.ts";
import { SeededRandom } from "../src/base/seeded_random.ts";
import { startRunner } from "../src/runner/start_runner.ts";
import { demoConfig, GREEDY } from "./demo.ts";
import { median } from "./median.ts";

/** The load: requests that come at once, of which the pool holds a quarter at their ends. */
const NUM_REQUESTS = 16;
const NUM_PROMPT_TOKENS = 128;
const NUM_OUTPUT_TOKENS = 96;
const BLOCK_SIZE = 16;
const NUM_BLOCKS = NUM_REQUESTS * (NUM_PROMPT_TOKENS + NUM_OUTPUT_TOKENS) / BLOCK_SIZE / 4;

/** One way to serve the load, and what it took. */
export interface Served {
  readonly enablePrefixCaching: boolean;
  /** Time with host memory over time without, the median of pairs of runs. */
  readonly ratio: number;
  readonly ratios: readonly number[];
  /** The same of this process's processor time, its device's threads on the CPU included. */
  readonly cpuRatio: number;
  /** Without host memory, and with it. */
  readonly recompute: ServedRun;
  readonly swap: ServedRun;
}

/** What one run took. */
export interface ServedRun {
  readonly ms: number;
  readonly cpuMs: number;
  readonly numPreemptions: number;
  readonly numRecomputedTokens: number;
  readonly swappedOutBytes: number;
  readonly swappedInBytes: number;
}

/** Serves the load without and with host memory in turns, with the prefix cache off and on. */
export async function compareServed(device: DeviceChoice, numRounds: number): Promise<Served[]> {
  const served: Served[] = [];
  for (const enablePrefixCaching of [false, true]) {
    const pairs: { recompute: ServedRun; swap: ServedRun }[] = [];
    for (let round = 0; round < numRounds; round++) {
      const recompute = await serve({ device, enablePrefixCaching });
      const swap = await serve({ device, enablePrefixCaching, swapMemoryBytes: 2 ** 28 });
      pairs.push({ recompute, swap });
    }
    const ratios = pairs.map(({ recompute, swap }) => swap.ms / recompute.ms);
    const cpuRatios = pairs.map(({ recompute, swap }) => swap.cpuMs / recompute.cpuMs);
    const [ratio, cpuRatio] = [median(ratios), median(cpuRatios)];
    served.push({ enablePrefixCaching, ratio, ratios, cpuRatio, ...pairs.at(-1)! });
  }
  return served;
}

/** A comparison in a line for people. */
export function servedWords(
  { enablePrefixCaching, ratio, ratios, cpuRatio, recompute, swap }: Served,
): string {
  const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
  return `served, cache ${enablePrefixCaching ? "on" : "off"}: with host memory ` +
    `${ratio.toFixed(2)} times the time (${ratios.map((each) => each.toFixed(2)).join(", ")}), ` +
    `${cpuRatio.toFixed(2)} times the processor time; ` +
    `positions computed again ${recompute.numRecomputedTokens} without, ` +
    `${swap.numRecomputedTokens} with; ${mib(swap.swappedOutBytes)} MiB out, ` +
    `${mib(swap.swappedInBytes)} MiB in`;
}

/** Serves the load once, by an engine as the server runs it. */
async function serve(overrides: Partial<EngineConfig>): Promise<ServedRun> {
  const config: EngineConfig = {
    ...demoConfig("auto"),
    ...{ blockSize: BLOCK_SIZE, numBlocksOverride: NUM_BLOCKS, maxModelLen: 512 },
    ...{ maxNumSeqs: NUM_REQUESTS, maxNumBatchedTokens: 256, maxNumQueuedSeqs: NUM_REQUESTS },
    ...overrides,
  };
  let stats: EngineStats | undefined;
  let numEnded = 0;
  const ended = Promise.withResolvers<void>();
  const ready = Promise.withResolvers<void>();
  const post = (message: FromEngine) => {
    if (message.type === "ready") ready.resolve();
    if (message.type === "failed") ended.reject(new Error(message.message));
    if (message.type !== "events") return;
    stats = message.stats;
    numEnded += message.events.filter(({ finishReason }) => finishReason !== undefined).length;
    if (numEnded === NUM_REQUESTS) ended.resolve();
  };
  const session = new EngineSession({ startRunner, post, reportBug: (bug) => ended.reject(bug) });
  session.receive({ type: "start", config });
  await ready.promise;
  const random = new SeededRandom(1);
  const began = performance.now();
  const before = cpuUsage();
  for (let i = 0; i < NUM_REQUESTS; i++) {
    const prompt = Uint32Array.from(
      { length: NUM_PROMPT_TOKENS },
      () => 300 + Math.floor(random.uniform() * 1000),
    );
    const params = { ...GREEDY, maxTokens: NUM_OUTPUT_TOKENS, stopTokenIds: [] };
    session.receive({ type: "submit", request: { id: `${i}`, sequences: [{ prompt, params }] } });
  }
  await ended.promise;
  const ms = performance.now() - began;
  const { user, system } = cpuUsage(before);
  const cpuMs = (user + system) / 1000;
  session.receive({ type: "stop" });
  const { numPreemptions, numRecomputedTokens, swappedOutBytes, swappedInBytes } = stats!;
  return { ms, cpuMs, numPreemptions, numRecomputedTokens, swappedOutBytes, swappedInBytes };
}
