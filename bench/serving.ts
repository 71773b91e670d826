/**
 * `deno task bench:serving`: ways to batch and to divide KV memory, side by side on the running server.
 *
 * Real servers of the bundled model, each a process with the same KV memory, serve ShareGPT-like
 * requests (lengths halved, for a context of 1,024 tokens) that come all at once: static and
 * continuous batching, memory reserved in one piece and paged, and requests that share system prompts
 * with and without the prefix cache. Modes alternate, ratios are medians of rounds. Clients emulate what the
 * server does not do: static batches and exact reservations wait there, and a reservation of whole contexts is the number
 * of seats. The last line is JSON.
 *
 *     --quick          few requests, one round: proves that all of it works
 *     --rounds N       measured rounds, default 3
 *     --requests N     per round and mode, default 64
 *     --device NAME    of the servers, default auto
 *     --write          keeps the result in bench/results
 */
// deno-lint-ignore-file no-console -- this is a command line program
import { parseArgs } from "node:util";
import { ServerProcess } from "../tests/support/server_process.ts";
import { keepResult } from "./results.ts";
import { countWords, type ServedLoad, serveLoad } from "./serving/measured_server.ts";
import { servingLoad } from "./serving/serving_load.ts";
import {
  batchingModes,
  type ServingMemory,
  type ServingMode,
  sharingModes,
} from "./serving/serving_modes.ts";
import { type ServingRow, servingRows, servingTable } from "./serving/serving_table.ts";

const BLOCK_SIZE = 16;
const MEMORY: ServingMemory = { contextLen: 1024, numPositions: 4096, maxNumSeqs: 64 };
/** System prompts of a tenth of the pool each. */
const SHARED = { numPrompts: 4, length: 256 };

interface Options {
  readonly numRounds: number;
  readonly numRequests: number;
  readonly device: string;
}

/** A load and the ways to serve it. */
interface Race {
  readonly name: string;
  readonly modes: readonly ServingMode[];
  readonly shared?: typeof SHARED;
}

function races(isQuick: boolean): Race[] {
  const batching = { name: "nothing shared", modes: batchingModes(MEMORY) };
  const sharing = { name: "4 system prompts of 256 tokens", modes: sharingModes(MEMORY) };
  return isQuick ? [batching] : [batching, { ...sharing, shared: SHARED }];
}

function startServer(mode: ServingMode, device: string): Promise<ServerProcess> {
  return ServerProcess.start([
    ...["--device", device, "--max-model-len", String(MEMORY.contextLen)],
    ...["--num-gpu-blocks-override", String(MEMORY.numPositions / BLOCK_SIZE)],
    ...["--max-num-seqs", String(mode.numSeats), "--log-level", "warn"],
    ...(mode.hasPrefixCache ? [] : ["--no-enable-prefix-caching"]),
  ]);
}

/** Steps and tokens that a server has counted. */
async function countersOf(server: ServerProcess) {
  return {
    numSteps: await server.metric("quire:steps_total"),
    numTokens: await server.metric("vllm:generation_tokens_total"),
    numPreemptions: await server.metric("vllm:num_preemptions_total"),
  };
}

/** One mode's run of a load. */
async function measure(
  server: ServerProcess,
  mode: ServingMode,
  requests: Parameters<typeof serveLoad>[1],
): Promise<ServedLoad & { readonly batch: number; readonly numPreemptions: number }> {
  const before = await countersOf(server);
  const served = await serveLoad(server, requests, mode.reservations());
  const after = await countersOf(server);
  return {
    ...served,
    batch: (after.numTokens - before.numTokens) / (after.numSteps - before.numSteps),
    numPreemptions: after.numPreemptions - before.numPreemptions,
  };
}

async function run(race: Race, { numRounds, numRequests, device }: Options): Promise<ServingRow[]> {
  console.log(`\n${race.name}: ${numRequests} requests`);
  for (const { name, meaning } of race.modes) console.log(`  ${name.padEnd(14)}${meaning}`);
  const servers: { mode: ServingMode; server: ServerProcess }[] = [];
  const runs = new Map<string, Awaited<ReturnType<typeof measure>>[]>();
  try {
    for (const mode of race.modes) {
      servers.push({ mode, server: await startServer(mode, device) });
    }
    const words = await countWords(servers[0]!.server);
    const load = { contextLen: MEMORY.contextLen, words };
    const shared = race.shared === undefined ? {} : { shared: race.shared };
    // Round 0 warms up: kernels, queues, what the scheduler knows of lengths.
    for (let round = 0; round <= numRounds; round++) {
      const size = round === 0 ? Math.ceil(numRequests / 4) : numRequests;
      const requests = servingLoad({ ...load, ...shared, numRequests: size, seed: 1 + round });
      const order = round % 2 === 0 ? servers : servers.toReversed();
      for (const { mode, server } of order) {
        const served = await measure(server, mode, requests);
        if (round > 0) runs.set(mode.name, [...runs.get(mode.name) ?? [], served]);
      }
      if (round > 0) console.log(`  round ${round} of ${numRounds}`);
    }
  } finally {
    for (const { server } of servers) await server.stop();
  }
  const rows = servingRows(race.name, race.modes.map(({ name }) => name), runs);
  console.log(`\n${servingTable(rows)}`);
  return rows;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string", default: "3" },
      requests: { type: "string", default: "64" },
      device: { type: "string", default: "auto" },
      write: { type: "boolean", default: false },
    },
  });
  const options = {
    numRounds: values.quick ? 1 : Number(values.rounds),
    numRequests: values.quick ? 8 : Number(values.requests),
    device: values.device,
  };
  const rows: ServingRow[] = [];
  for (const race of races(values.quick)) rows.push(...await run(race, options));
  const { device: _, ...load } = options;
  await keepResult(
    { bench: "serving", device: values.device, memory: MEMORY, ...load, rows },
    values,
  );
}

if (import.meta.main) await main();
