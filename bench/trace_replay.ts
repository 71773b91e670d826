/**
 * Replays published request traces through the prefix cache, block by block, and prints hit rates.
 *
 * Usage: `deno run -A bench/trace_replay.ts [FOLDER] [--quick]`, where the folder holds the Mooncake traces
 * (Qin et al. 2025, FAST; JSONL with one `hash_ids` list per request, 512 tokens per id). The last
 * line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import type { EvictionPolicyName } from "../src/core/engine_config.ts";
import { type CachedRequest, replayHits } from "./sim/replay_hits.ts";

const DEFAULT_FOLDER = new URL("../../shared/data/traces/", import.meta.url);
const TRACES = ["conversation", "synthetic"] as const;
const POLICIES: readonly EvictionPolicyName[] = [
  ...["lru", "slru", "hits-per-token", "tail-lru", "reuse"] as const,
];
/** Requests of each trace, and capacities, that `--quick` replays. */
const QUICK = { numRequests: 300, capacities: [1000] };
/** Capacities in blocks of 512 tokens: 50 million tokens down to half a million. */
const CAPACITIES = [100_000, 97_656, 50_000, 30_000, 10_000, 5_860, 3_000, 1_000];
/** Blocks of 512 tokens that `tail-lru` takes for a tail. */
const NUM_TAIL_BLOCKS = 4;

interface Row {
  readonly trace: string;
  readonly policy: EvictionPolicyName;
  /** Blocks the cache may hold; null for no limit. */
  readonly capacity: number | null;
  /** Share of all blocks asked for that were found. */
  readonly hitRate: number;
}

function readTrace(folder: URL, name: string): CachedRequest[] | undefined {
  try {
    const text = Deno.readTextFileSync(new URL(`${name}_trace.jsonl`, folder));
    return text.trim().split("\n").map((line) => {
      // An id stands for the whole prefix up to it: it takes the place of a block's tokens.
      const { timestamp, hash_ids } = JSON.parse(line);
      const ids = Uint32Array.from(hash_ids as number[]);
      return { ms: timestamp ?? 0, prompt: () => ids };
    });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function replay(
  trace: string,
  requests: readonly CachedRequest[],
  capacities: readonly number[],
): Row[] {
  const numBlocks = requests.reduce((sum, { prompt }) => sum + prompt().length, 0);
  const hitRate = (capacity: number, policy: EvictionPolicyName) =>
    replayHits(requests, { capacity, policy, blockSize: 1, numTailTokens: NUM_TAIL_BLOCKS })
      .hitRate;
  const unlimited = { trace, policy: "lru" as const, capacity: null };
  const rows: Row[] = [{ ...unlimited, hitRate: hitRate(numBlocks, "lru") }];
  for (const policy of POLICIES) {
    for (const capacity of capacities) {
      rows.push({ trace, policy, capacity, hitRate: hitRate(capacity, policy) });
    }
  }
  return rows;
}

function main(): void {
  const isQuick = Deno.args.includes("--quick");
  const [given] = Deno.args.filter((argument) => argument !== "--quick");
  const folder = given === undefined
    ? DEFAULT_FOLDER
    : new URL(given.replace(/\/?$/, "/"), `file://${Deno.cwd()}/`);
  const rows: Row[] = [];
  for (const trace of TRACES) {
    const requests = readTrace(folder, trace)?.slice(0, isQuick ? QUICK.numRequests : Infinity);
    if (requests === undefined) {
      console.log(`${trace}_trace.jsonl is not in ${folder.pathname}: nothing to replay`);
      continue;
    }
    console.log(`${trace}: ${requests.length} requests`);
    for (const row of replay(trace, requests, isQuick ? QUICK.capacities : CAPACITIES)) {
      const capacity = row.capacity === null ? "unlimited" : String(row.capacity);
      console.log(`  ${row.policy.padEnd(14)}${capacity.padStart(10)}  ${row.hitRate.toFixed(4)}`);
      rows.push(row);
    }
  }
  console.log(JSON.stringify({ bench: "trace_replay", rows }));
}

main();
