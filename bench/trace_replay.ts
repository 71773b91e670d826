/**
 * Replays published workload traces through the prefix cache, block by block, and prints hit rates
 * under each order of eviction.
 *
 * Usage: `deno run -A bench/trace_replay.ts [FOLDER] [--quick] [--synthetic]`, where the folder
 * holds the Mooncake traces (Qin et al. 2025, FAST; JSONL with one `hash_ids` list per request, 512
 * tokens per id); `--synthetic` replays the simulator's conversations and tool loops as well. The
 * last line is JSON.
 */
// deno-lint-ignore-file no-console -- this is a command line program
import type { EvictionPolicyName } from "../src/core/engine_config.ts";
import { type CachedRequest, inOrder, replayHits } from "./sim/replay_hits.ts";
import { agents, chats } from "./sim/synthetic_loads.ts";

const DEFAULT_FOLDER = new URL("../../shared/data/traces/", import.meta.url);
const TRACES = ["conversation", "synthetic"] as const;
const POLICIES: readonly EvictionPolicyName[] = [
  ...["lru", "slru", "hits-per-token", "tail-lru", "reuse"] as const,
];
/** Requests of each trace, and capacities, that `--quick` replays. */
const QUICK = { numRequests: 300, capacities: [1000] };
/** Capacities in blocks of 512 tokens: 50 million tokens down to half a million. */
const CAPACITIES = [100_000, 97_656, 50_000, 30_000, 10_000, 5_860, 3_000, 1_000];
/** The same for synthetic loads, in blocks of 16. */
const SYNTHETIC_CAPACITIES = [8_000, 4_000, 2_000, 1_000];

/** Requests, and how the cache sees them. */
interface Source {
  readonly trace: string;
  readonly requests: readonly CachedRequest[];
  /** In the units of the requests' tokens: one per 512 tokens where these are ids of blocks. */
  readonly blockSize: number;
  /** What `tail-lru` takes for a tail. */
  readonly numTailTokens: number;
  readonly capacities: readonly number[];
}

interface Row {
  readonly trace: string;
  readonly policy: EvictionPolicyName;
  /** Blocks the cache may hold; null for no limit. */
  readonly capacity: number | null;
  /** Share of all blocks asked for that were found. */
  readonly hitRate: number;
}

function readWorkloadTrace(folder: URL, name: string): CachedRequest[] | undefined {
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

/** The simulator's loads. */
function syntheticSources(): Source[] {
  const shared = { blockSize: 16, numTailTokens: 512, capacities: SYNTHETIC_CAPACITIES };
  const size = { perSecond: 1, seed: 1 };
  return [
    { trace: "chat", requests: inOrder(chats({ ...size, count: 600 })), ...shared },
    {
      trace: "agent",
      requests: inOrder(agents({ perSecond: 0.3, seed: 1, count: 200 })),
      ...shared,
    },
  ];
}

function traceSources(folder: URL, isQuick: boolean): Source[] {
  return TRACES.flatMap((trace) => {
    const requests = readWorkloadTrace(folder, trace)?.slice(
      0,
      isQuick ? QUICK.numRequests : Infinity,
    );
    if (requests === undefined) {
      console.log(`${trace}_trace.jsonl is not in ${folder.pathname}: nothing to replay`);
      return [];
    }
    const capacities = isQuick ? QUICK.capacities : CAPACITIES;
    return [{ trace, requests, capacities, blockSize: 1, numTailTokens: 4 }];
  });
}

function replay({ trace, requests, capacities, ...cache }: Source): Row[] {
  let numTokens = 0;
  for (const { prompt, output } of requests) {
    numTokens += prompt().length + (output?.().length ?? 0);
  }
  const hitRate = (capacity: number, policy: EvictionPolicyName) =>
    replayHits(requests, { ...cache, capacity, policy }).hitRate;
  const most = Math.ceil(numTokens / cache.blockSize);
  const rows: Row[] = [{ trace, policy: "lru", capacity: null, hitRate: hitRate(most, "lru") }];
  for (const policy of POLICIES) {
    for (const capacity of capacities) {
      rows.push({ trace, policy, capacity, hitRate: hitRate(capacity, policy) });
    }
  }
  return rows;
}

/** A line per capacity, a column per policy. */
function print(rows: readonly Row[]): void {
  console.log(`  ${"blocks".padStart(10)}${POLICIES.map((name) => name.padStart(16)).join("")}`);
  for (const capacity of new Set(rows.map((row) => row.capacity))) {
    const rates = rows.filter((row) => row.capacity === capacity)
      .map(({ hitRate }) => hitRate.toFixed(4).padStart(16));
    console.log(`  ${String(capacity ?? "unlimited").padStart(10)}${rates.join("")}`);
  }
}

function main(): void {
  const isQuick = Deno.args.includes("--quick");
  const [given] = Deno.args.filter((argument) => !argument.startsWith("--"));
  const folder = given === undefined
    ? DEFAULT_FOLDER
    : new URL(given.replace(/\/?$/, "/"), `file://${Deno.cwd()}/`);
  const sources = traceSources(folder, isQuick);
  if (Deno.args.includes("--synthetic")) sources.push(...syntheticSources());
  const rows = sources.flatMap((source) => {
    console.log(`${source.trace}: ${source.requests.length} requests`);
    const rows = replay(source);
    print(rows);
    return rows;
  });
  console.log(JSON.stringify({ bench: "trace_replay", rows }));
}

main();
