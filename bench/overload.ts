/**
 * A pool that is too small for its load: how often the scheduler preempts, how many positions it
 * computes for each that was needed, and how many blocks it copies to host memory instead. The
 * scheduler and the KV modules run alone; every drawn token is made up.
 *
 * With `--device` the bundled model serves such a load as well, with and without host memory in
 * turns: the ratio of their times.
 *
 * Usage: `deno run -A bench/overload.ts [--device cpu|webgpu] [--quick]`. The last line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { parseArgs } from "node:util";
import type { DeviceChoice } from "../src/core/engine_config.ts";
import type { GenerationRequest } from "../src/core/generation.ts";
import { BlockManager } from "../src/kvcache/block_manager.ts";
import { SeededRandom } from "../src/base/seeded_random.ts";
import { Scheduler } from "../src/scheduler/scheduler.ts";
import type { SchedulerOptions } from "../src/scheduler/scheduler_options.ts";
import { GREEDY } from "./demo.ts";
import { compareServed, servedWords } from "./overload_served.ts";

const BLOCK_SIZE = 16;
/** No token is drawn twice by chance, so nothing is shared. */
const STOP_TOKEN = 1;

/** A request of a load, in tokens. */
export interface LoadedRequest {
  readonly numPromptTokens: number;
  readonly numOutputTokens: number;
  /** As the client sets it; `numOutputTokens` unless it stops by itself. */
  readonly maxTokens: number;
}

/** What a load is played on. */
export interface OverloadOptions extends Partial<SchedulerOptions> {
  readonly numBlocks: number;
  readonly hasPrefixCache?: boolean;
  /** Blocks of host memory, to which copying always pays. Default: none. */
  readonly numSwapBlocks?: number;
}

/** What a load took. */
export interface Overload {
  readonly numPreemptions: number;
  readonly numSteps: number;
  /** Positions computed, over those of the same load in a pool without end. */
  readonly positions: number;
  /** Sequences per step. */
  readonly batch: number;
  /** Most preemptions of one request. */
  readonly maxPreemptions: number;
  /** Blocks copied to host memory and back, over those that the load fills at its ends. */
  readonly swappedOut: number;
  readonly swappedIn: number;
  /** Requests in the order in which they had their first token, and their last. */
  readonly begun: readonly number[];
  readonly ended: readonly number[];
}

/** Plays a load whose requests all come at once. */
export function playOverload(
  load: readonly LoadedRequest[],
  { numBlocks, hasPrefixCache = true, numSwapBlocks = 0, ...options }: OverloadOptions,
): Overload {
  const keySpace = { secret: new Uint8Array(32), modelFingerprint: "bench", layout: "bench" };
  const numOf = new Map<number, number>();
  const blocks = new BlockManager({
    numBlocks,
    blockSize: BLOCK_SIZE,
    onDecision: ({ type, sequenceId }) => {
      if (type === "preempt") numOf.set(sequenceId!, (numOf.get(sequenceId!) ?? 0) + 1);
    },
    ...(hasPrefixCache ? { prefixCache: { policy: "lru", keySpace } } : {}),
    ...(numSwapBlocks > 0 ? { swapSpace: { numSlabs: numSwapBlocks, blockBytes: [1] } } : {}),
  });
  const scheduler = new Scheduler(blocks, {
    maxModelLen: 1 << 20,
    maxNumSeqs: load.length,
    maxNumBatchedTokens: 512,
    maxNumQueuedSeqs: load.length,
    scheduleConservativeness: 1,
    ...options,
  });
  scheduler.setSwapCosts({ tokenMs: 1, storeMsPerMiB: 0, loadMsPerMiB: 0 });
  load.forEach((request, i) => scheduler.add(toRequest(request, i)));
  const [begun, ended]: [number[], number[]] = [[], []];
  let [numPositions, numChunks, numSteps] = [0, 0, 0];
  while (scheduler.hasWork) {
    const batch = scheduler.schedule()!;
    numSteps++;
    numPositions += batch.numTokens;
    numChunks += batch.chunks.length;
    const results = batch.chunks.flatMap(({ sequenceId, draw }) => {
      if (draw === undefined) return [];
      const isLast = draw.outputIndex === load[sequenceId]!.numOutputTokens - 1;
      const token = isLast ? STOP_TOKEN : 2 + sequenceId;
      return [{ sequenceId, outputs: [{ type: "token", token } as const] }];
    });
    for (const event of scheduler.commit(batch, results)) {
      const id = Number(event.requestId);
      if (event.numCachedTokens !== undefined) begun.push(id);
      if (event.finishReason !== undefined) ended.push(id);
    }
  }
  // The last token of an answer is never computed.
  const numNeeded = load.reduce(
    (sum, { numPromptTokens, numOutputTokens }) => sum + numPromptTokens + numOutputTokens - 1,
    0,
  );
  const numFilled = load.reduce(
    (sum, { numPromptTokens, numOutputTokens }) =>
      sum + Math.ceil((numPromptTokens + numOutputTokens) / BLOCK_SIZE),
    0,
  );
  const { numPreemptions, numSwappedOutBlocks, numSwappedInBlocks } = scheduler.stats;
  return {
    numPreemptions,
    swappedOut: numSwappedOutBlocks / numFilled,
    swappedIn: numSwappedInBlocks / numFilled,
    numSteps,
    positions: numPositions / numNeeded,
    batch: numChunks / numSteps,
    maxPreemptions: Math.max(0, ...numOf.values()),
    begun,
    ended,
  };
}

function toRequest({ numPromptTokens, maxTokens }: LoadedRequest, i: number): GenerationRequest {
  const prompt = new Uint32Array(numPromptTokens).fill(2 + i);
  const params = { ...GREEDY, maxTokens, stopTokenIds: [STOP_TOKEN] };
  return { id: String(i), sequences: [{ prompt, params }] };
}

/** As many equal requests. */
export function equalLoad(count: number, numPromptTokens: number, numOutputTokens: number) {
  const request = { numPromptTokens, numOutputTokens, maxTokens: numOutputTokens };
  return Array.from({ length: count }, (): LoadedRequest => request);
}

/**
 * Requests whose lengths are exponential with these means; `maxTokens` is four times the mean for
 * all.
 */
export function mixedLoad(count: number, meanPrompt: number, meanOutput: number, seed = 1) {
  const random = new SeededRandom(seed);
  const length = (mean: number, most: number) =>
    Math.min(most, 1 + Math.floor(-Math.log(random.uniform()) * mean));
  return Array.from({ length: count }, (): LoadedRequest => ({
    numPromptTokens: length(meanPrompt, 4 * meanPrompt),
    numOutputTokens: length(meanOutput, 4 * meanOutput),
    maxTokens: 4 * meanOutput,
  }));
}

if (import.meta.main) {
  const isQuick = Deno.args.includes("--quick");
  const loads = {
    "64 of 64 in, 448 out": equalLoad(64, 64, 448),
    "mixed, 64 in, 224 out": mixedLoad(isQuick ? 32 : 256, 64, 224),
  };
  const rows = Object.entries(loads).flatMap(([name, load]) =>
    [128, 256, 512].flatMap((numBlocks) =>
      [0, 0.5, 1].flatMap((scheduleConservativeness) =>
        (isQuick ? [true] : [true, false]).flatMap((hasPrefixCache) =>
          [0, numBlocks].map((numSwapBlocks) => {
            const options = { numBlocks, scheduleConservativeness, hasPrefixCache, numSwapBlocks };
            const { begun: _, ended: __, ...row } = playOverload(load, options);
            return { name, ...options, ...row };
          })
        )
      )
    )
  );
  console.log(
    "load                    blocks  conservativeness  cache  host  preemptions  positions  steps  " +
      "batch  copied out, in",
  );
  for (const row of rows) {
    console.log(
      row.name.padEnd(24) + String(row.numBlocks).padEnd(8) +
        String(row.scheduleConservativeness).padEnd(18) +
        (row.hasPrefixCache ? "on" : "off").padEnd(7) + String(row.numSwapBlocks).padEnd(6) +
        `${row.numPreemptions} (${row.maxPreemptions})`.padEnd(13) +
        row.positions.toFixed(3).padEnd(11) + String(row.numSteps).padEnd(7) +
        row.batch.toFixed(1).padEnd(7) +
        `${row.swappedOut.toFixed(2)}, ${row.swappedIn.toFixed(2)}`,
    );
  }
  const { device } = parseArgs({
    args: Deno.args,
    options: { device: { type: "string" }, quick: { type: "boolean" } },
  }).values;
  const served = device === undefined
    ? []
    : await compareServed(device as DeviceChoice, isQuick ? 1 : 5);
  for (const row of served) console.log(servedWords(row));
  console.log(JSON.stringify(device === undefined ? rows : { rows, served }));
}
