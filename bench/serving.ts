/**
 * `deno task bench:serving`: ways to batch and to divide KV memory, side by side on running servers.
 *
 * Servers of the bundled model, each a process with the same KV memory, serve ShareGPT-like requests
 * (lengths halved, for a context of 1,024 tokens) that all come at once: static and continuous
 * batching, memory reserved in one piece and paged, and requests that share system prompts with and
 * without the prefix cache. Beside them llama.cpp, on the same weights. Clients emulate what the
 * server does not do: static batches and exact reservations wait there, and a reservation of whole
 * contexts is a number of seats. Modes alternate, ratios are medians of rounds, and processor time is
 * that of the server's process. The last line is JSON.
 *
 *     --quick          few short requests, one round, no llama.cpp: proves that all of it works
 *     --rounds N       measured rounds, default 2
 *     --requests N     per round and mode, default 48
 *     --threads N      that compute on the processor, of each server, default 1: the others serve and ask
 *     --device NAME    of Quire's servers, default auto
 *     --llama-dir DIR  where llama.cpp is installed to; default: a folder that is removed again
 *     --no-llama       leaves llama.cpp out
 *     --write          keeps the result in bench/results
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { parseArgs } from "node:util";
import { installLlama } from "./peers/install_llama.ts";
import { keepResult } from "./results.ts";
import { countWords, serveLoad } from "./serving/measured_server.ts";
import { type ServedRequest, type ServingLoad, servingLoad } from "./serving/serving_load.ts";
import { batchingModes, type ServingMode, sharingModes } from "./serving/serving_modes.ts";
import type { ServingMemory, ServingPlace, ServingServer } from "./serving/serving_servers.ts";
import {
  type ServedRound,
  type ServingRow,
  servingRows,
  servingTable,
} from "./serving/serving_table.ts";

/**
 * Two contexts: where a step costs about the same for up to eight sequences, as on this adapter, and
 * on a GPU for many more, what fits into memory decides how much a step does.
 */
const MEMORY: ServingMemory = { contextLen: 1024, numPositions: 2048, maxNumSeqs: 64 };
const SHARED = { numPrompts: 2, length: 256 };

/** Of a quick run, whose lengths shrink along with the context. */
const QUICK_MEMORY: ServingMemory = { ...MEMORY, contextLen: 384, numPositions: 768 };
const QUICK_SHARED = { ...SHARED, length: 96 };

/** How much of a load there is, and the memory that it is served from. */
interface Size {
  readonly memory: ServingMemory;
  readonly numRounds: number;
  readonly numRequests: number;
}

/** A load and the ways to serve it. */
interface Race {
  readonly name: string;
  readonly modes: readonly ServingMode[];
  readonly shared?: ServingLoad["shared"];
}

function races(place: ServingPlace, shared: typeof SHARED): Race[] {
  const { numPrompts, length } = shared;
  return [
    { name: "nothing shared", modes: batchingModes(place) },
    {
      name: `${numPrompts} system prompts of ${length} tokens`,
      modes: sharingModes(place),
      shared,
    },
  ];
}

/** One mode's run of a load. */
async function measure(
  server: ServingServer,
  { reservations }: ServingMode,
  requests: readonly ServedRequest[],
): Promise<ServedRound> {
  const before = await server.counts();
  const served = await serveLoad(server, requests, reservations());
  const after = await server.counts();
  if (before === undefined || after === undefined) return served;
  return {
    ...served,
    batch: (after.numTokens - before.numTokens) / (after.numSteps - before.numSteps),
    numPreemptions: after.numPreemptions - before.numPreemptions,
  };
}

/** Runs a race; what the base has computed on, and all rows. */
async function run(
  { name, modes, shared }: Race,
  size: Size,
): Promise<{ readonly device: string; readonly rows: readonly ServingRow[] }> {
  console.log(`\n${name}: ${size.numRequests} requests`);
  for (const mode of modes) console.log(`  ${mode.name.padEnd(14)}${mode.meaning}`);
  const servers: [ServingMode, ServingServer][] = [];
  try {
    for (const mode of modes) servers.push([mode, await mode.start()]);
    const words = await countWords(servers[0]![1]);
    const load = { contextLen: size.memory.contextLen, words, ...(shared ? { shared } : {}) };
    const rows = servingRows(name, modes, await runRounds(servers, load, size));
    console.log(`\n${servingTable(rows)}`);
    return { device: servers[0]![1].device, rows };
  } finally {
    for (const [, server] of servers) await server.stop();
  }
}

/** Each mode's rounds. */
async function runRounds(
  servers: readonly (readonly [ServingMode, ServingServer])[],
  load: Omit<ServingLoad, "numRequests" | "seed">,
  { numRounds, numRequests }: Size,
): Promise<Map<ServingMode, ServedRound[]>> {
  const rounds = new Map(servers.map(([mode]) => [mode, [] as ServedRound[]]));
  // Round 0 warms up: kernels, queues, what the scheduler knows of lengths.
  for (let round = 0; round <= numRounds; round++) {
    const size = round === 0 ? Math.ceil(numRequests / 4) : numRequests;
    const requests = servingLoad({ ...load, numRequests: size, seed: 1 + round });
    // Each goes first in turn, so that a drift of the machine does not count for one of them.
    for (const [mode, server] of round % 2 === 0 ? servers : servers.toReversed()) {
      const served = await measure(server, mode, requests);
      if (round === 0) continue;
      rounds.get(mode)!.push(served);
      const { seconds } = served.figures;
      console.log(`  round ${round} of ${numRounds}: ${mode.name}, ${seconds.toFixed(1)} s`);
    }
  }
  return rounds;
}

/** Where llama.cpp is, if it is wanted and npm installs it. */
async function findLlama(dir: string, isWanted: boolean): Promise<{ llamaDir?: string }> {
  const installed = isWanted ? await installLlama(dir) : { missing: "not asked for" };
  if ("dir" in installed) return { llamaDir: installed.dir };
  console.log(`without llama.cpp: ${installed.missing}`);
  return {};
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string", default: "2" },
      requests: { type: "string", default: "48" },
      threads: { type: "string", default: "1" },
      device: { type: "string", default: "auto" },
      "llama-dir": { type: "string" },
      "no-llama": { type: "boolean", default: false },
      write: { type: "boolean", default: false },
    },
  });
  const { quick, device } = values;
  const numThreads = Number(values.threads);
  const size = quick ? { memory: QUICK_MEMORY, numRounds: 1, numRequests: 4 } : {
    memory: MEMORY,
    numRounds: Number(values.rounds),
    numRequests: Number(values.requests),
  };
  const temp = await Deno.makeTempDir({ prefix: "quire-serving-" });
  try {
    const llama = await findLlama(values["llama-dir"] ?? temp, !quick && !values["no-llama"]);
    const rows: ServingRow[] = [];
    let found = device;
    const place = { memory: size.memory, device, numThreads, ...llama };
    for (const race of races(place, quick ? QUICK_SHARED : SHARED)) {
      const result = await run(race, size);
      found = result.device;
      rows.push(...result.rows);
    }
    const head = { bench: "serving", device: found, numThreads };
    await keepResult({ ...head, ...size, rows }, values);
  } finally {
    await Deno.remove(temp, { recursive: true });
  }
}

if (import.meta.main) await main();
