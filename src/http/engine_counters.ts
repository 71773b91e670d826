import { Counter, type Registry } from "prom-client";
import type { EngineStats } from "../core/engine_config.ts";
import type { EnginePort } from "../core/generation.ts";

/** As much of the engine as its counters are read from. */
type Counted = Pick<EnginePort, "stats" | "numRestarts">;

/** A counter that the engine keeps: its help, and where the engine holds the value. */
interface EngineCounter {
  readonly help: string;
  readonly read: (stats: EngineStats, engine: Counted) => number;
}

/** A counter with one label, and its value by value of that label. */
interface LabelledCounter {
  readonly help: string;
  readonly label: string;
  readonly read: (stats: EngineStats) => Readonly<Record<string, number>>;
}

const COUNTERS: Readonly<Record<string, EngineCounter>> = {
  "vllm:num_preemptions_total": {
    help: "Sequences that gave their KV blocks back and waited again",
    read: ({ numPreemptions }) => numPreemptions,
  },
  "vllm:prompt_tokens_total": {
    help: "Prompt tokens processed, cached ones included",
    read: ({ numPromptTokens }) => numPromptTokens,
  },
  "vllm:generation_tokens_total": {
    help: "Tokens generated",
    read: ({ numGeneratedTokens }) => numGeneratedTokens,
  },
  "vllm:prefix_cache_queries_total": {
    help: "Prompt tokens looked up in the prefix cache",
    read: ({ numQueriedTokens }) => numQueriedTokens,
  },
  "vllm:prefix_cache_hits_total": {
    help: "Prompt tokens found in the prefix cache",
    read: ({ numHitTokens }) => numHitTokens,
  },
  "quire:preempted_prefix_cache_queries_total": {
    help: "Tokens of preempted sequences looked up in the prefix cache",
    read: ({ numRequeriedTokens }) => numRequeriedTokens,
  },
  "quire:preempted_prefix_cache_hits_total": {
    help: "Tokens of preempted sequences found in the prefix cache",
    read: ({ numRehitTokens }) => numRehitTokens,
  },
  "quire:kv_pool_growths_total": {
    help: "Times the KV pool has grown by itself",
    read: ({ numPoolGrowths }) => numPoolGrowths,
  },
  "quire:kv_pool_resizes_total": {
    help: "Times the KV pool has been resized on demand",
    read: ({ numPoolResizes }) => numPoolResizes,
  },
  "quire:engine_restarts_total": {
    help: "Engine isolates started in place of one that had died or hung",
    read: (_stats, { numRestarts }) => numRestarts,
  },
  "quire:steps_total": { help: "Engine steps", read: ({ numSteps }) => numSteps },
  "quire:step_seconds_total": {
    help: "Time of all steps",
    read: ({ stepMs }) => stepMs / 1000,
  },
  "quire:host_seconds_total": {
    help: "Part of the steps' time in which the device waited for the host",
    read: ({ hostMs }) => hostMs / 1000,
  },
  "quire:overlapped_host_seconds_total": {
    help: "Host work done while the device was busy",
    read: ({ overlappedMs }) => overlappedMs / 1000,
  },
};

const LABELLED: Readonly<Record<string, LabelledCounter>> = {
  "quire:prefix_cache_evicted_blocks_total": {
    help: "Blocks dropped from the prefix cache: to make room, for a smaller pool, or by a reset",
    label: "reason",
    read: ({ numEvictedBlocks, numShrinkEvictedBlocks: resize, numResetBlocks: reset }) => ({
      allocation: numEvictedBlocks - resize,
      resize,
      reset,
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
  for (const [name, { help, read }] of Object.entries(COUNTERS)) {
    new Counter({
      name,
      help,
      registers: [registry],
      collect() {
        this.reset();
        this.inc(read(engine.stats, engine));
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
