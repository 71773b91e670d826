import { Counter, type Registry } from "prom-client";
import {
  COUNTER_NAMES,
  ENGINE_COUNTERS,
  type EngineStats,
  type StatDeclaration,
} from "../../core/engine_stats.ts";
import type { EnginePort } from "../../core/engine_port.ts";

/** As much of the engine as its counters are read from. */
type Counted = Pick<EnginePort, "stats" | "numRestarts" | "numStalls">;

/** A counter that has a metric of its own: its help, and its value at a scrape. */
interface EngineCounter {
  readonly help: string;
  readonly read: (engine: Counted) => number;
}

/** A counter with one label, and its value by value of that label. */
interface LabelledCounter {
  readonly help: string;
  readonly label: string;
  readonly read: (stats: EngineStats) => Readonly<Record<string, number>>;
}

/** Those of the declared counters that have a metric, by its name, and the restarts. */
function countersByMetric(): ReadonlyMap<string, EngineCounter> {
  const counters = new Map<string, EngineCounter>([
    ["quire:engine_restarts_total", {
      help: "Engine isolates started in place of one that had failed or hung",
      read: ({ numRestarts }) => numRestarts,
    }],
    ["quire:engine_stalls_total", {
      help: "Times that a step of the engine has taken unusually long",
      read: ({ numStalls }) => numStalls,
    }],
  ]);
  for (const name of COUNTER_NAMES) {
    const { metric, help, perUnit = 1 }: StatDeclaration = ENGINE_COUNTERS[name];
    if (metric !== undefined) {
      counters.set(metric, {
        help,
        read: ({ stats }) => stats[name] / perUnit,
      });
    }
  }
  return counters;
}

/** Metrics that are made of several counters. */
const LABELLED: Readonly<Record<string, LabelledCounter>> = {
  "vllm:prompt_tokens_by_source_total": {
    help: "Prompt tokens processed, by whether they were computed or found",
    label: "source",
    read: ({ numPromptTokens, numCachedPromptTokens: local_cache_hit }) => ({
      local_compute: numPromptTokens - local_cache_hit,
      local_cache_hit,
    }),
  },
  "quire:prefix_cache_evicted_blocks_total": {
    help: "Blocks dropped from the prefix cache: to make room, for a smaller pool, or by a reset",
    label: "reason",
    read: ({ numEvictedBlocks, numShrinkEvictedBlocks: resize, numResetBlocks: reset }) => ({
      allocation: numEvictedBlocks - resize,
      resize,
      reset,
    }),
  },
  "vllm:kv_offload_total_bytes_total": {
    help: "Bytes of KV blocks copied between device and host memory",
    label: "transfer_type",
    read: ({ swappedOutBytes, swappedInBytes }) => ({
      GPU_to_CPU: swappedOutBytes,
      CPU_to_GPU: swappedInBytes,
    }),
  },
  "quire:swap_fallbacks_total": {
    help: "Preempted sequences computed again in spite of host memory: it was full, blocks that " +
      "others held had been evicted, or a checksum did not match",
    label: "reason",
    read: ({ numSwapsRefused: full, numSwapsEvicted: evicted, numSwapsCorrupt: corrupt }) => ({
      full,
      evicted,
      corrupt,
    }),
  },
  "quire:prefix_cache_missed_tokens_total": {
    help:
      "Prompt tokens not found: never seen in their scope (or long ago), evicted of late, or the " +
      "last token and its part of a block, which are always computed",
    label: "reason",
    read: (stats) => {
      const { numQueriedTokens, numHitTokens, numEvictedTokens, numUnsharableTokens } = stats;
      const known = numHitTokens + numEvictedTokens + numUnsharableTokens;
      return {
        no_match: numQueriedTokens - known,
        evicted: numEvictedTokens,
        last_block: numUnsharableTokens,
      };
    },
  },
};

/** Adds what the engine counts to a registry, read at each scrape. */
export function watchEngineCounters(registry: Registry, engine: Counted): void {
  for (const [name, { help, read }] of countersByMetric()) {
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        this.reset();
        this.inc(read(engine));
      },
    });
  }
  for (const [name, { help, label, read }] of Object.entries(LABELLED)) {
    new Counter({
      name,
      help,
      labelNames: [label],
      registers: [registry],
      collect() {
        this.reset();
        for (const [value, count] of Object.entries(read(engine.stats))) {
          this.inc({ [label]: value }, count);
        }
      },
    });
  }
}
