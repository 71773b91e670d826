/**
 * Replays published request traces through the prefix cache, block by block, and prints hit rates.
 *
 * Usage: `deno run -A bench/trace_replay.ts [FOLDER] [--quick]`, where the folder holds the Mooncake traces
 * (Qin et al. 2025, FAST; JSONL with one `hash_ids` list per request, 512 tokens per id). The last
 * line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import type { EvictionPolicyName } from "../src/core/engine_config.ts";
import type { BlockId } from "../src/core/ids.ts";
import { BlockPool } from "../src/kvcache/pool/block_pool.ts";
import { PrefixCache } from "../src/kvcache/prefix/prefix_cache.ts";

const DEFAULT_FOLDER = new URL("../../shared/data/traces/", import.meta.url);
const TRACES = ["conversation", "synthetic"] as const;
const POLICIES: readonly EvictionPolicyName[] = ["lru", "slru"];
/** Requests of each trace, and capacities, that `--quick` replays. */
const QUICK = { numRequests: 300, capacities: [1000] };
/** Capacities in blocks of 512 tokens: 50 million tokens down to half a million. */
const CAPACITIES = [100_000, 97_656, 50_000, 30_000, 10_000, 5_860, 3_000, 1_000];
const KEY_SPACE = { secret: new Uint8Array(), modelFingerprint: "trace", layout: "trace" };

/** The ids of one request's blocks, in order; an id stands for the whole prefix up to it. */
type Request = Uint32Array;

interface Row {
  readonly trace: string;
  readonly policy: EvictionPolicyName;
  /** Blocks the cache may hold; null for no limit. */
  readonly capacity: number | null;
  /** Share of all blocks asked for that were found. */
  readonly hitRate: number;
}

function readTrace(folder: URL, name: string): Request[] | undefined {
  try {
    const text = Deno.readTextFileSync(new URL(`${name}_trace.jsonl`, folder));
    return text.trim().split("\n").map((line) => Uint32Array.from(JSON.parse(line).hash_ids));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** One request after the other: what is found is used, what is missing is cached. */
function hitRate(
  requests: readonly Request[],
  capacity: number,
  policy: EvictionPolicyName,
): number {
  const cache = new PrefixCache(new BlockPool(capacity), 1, { keySpace: KEY_SPACE, policy });
  let numAsked = 0;
  let numFound = 0;
  for (const tokens of requests) {
    const found = cache.match("", tokens, tokens.length);
    numAsked += tokens.length;
    numFound += found.length;
    cache.retain(found);
    cache.noteHit({ nodes: found, blocks: [found], numKnown: found.length });
    const held = [...found];
    // A request larger than the whole cache keeps what fits of its start.
    while (held.length < tokens.length && cache.numAvailable > 0) {
      const [id] = cache.allocate(1);
      const place = { scope: "", parent: held.at(-1) as BlockId | undefined };
      cache.insert(place, id!, { tokens, start: held.length });
      held.push(id!);
    }
    cache.release(held);
  }
  cache.checkIntegrity();
  return numFound / numAsked;
}

function replay(
  trace: string,
  requests: readonly Request[],
  capacities: readonly number[],
): Row[] {
  const numBlocks = requests.reduce((sum, { length }) => sum + length, 0);
  const unlimited = { trace, policy: "lru" as const, capacity: null };
  const rows: Row[] = [{ ...unlimited, hitRate: hitRate(requests, numBlocks, "lru") }];
  for (const policy of POLICIES) {
    for (const capacity of capacities) {
      rows.push({ trace, policy, capacity, hitRate: hitRate(requests, capacity, policy) });
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
      console.log(`  ${row.policy.padEnd(6)}${capacity.padStart(10)}  ${row.hitRate.toFixed(4)}`);
      rows.push(row);
    }
  }
  console.log(JSON.stringify({ bench: "trace_replay", rows }));
}

main();
