/** One number that the engine counts or measures, declared once for all who keep or show it. */
export interface StatDeclaration {
  readonly help: string;
  /** The metric that shows it alone; absent: others are made of it, or none. */
  readonly metric?: string;
  /** How many make one of the metric's unit; default: 1. */
  readonly perUnit?: number;
}

/**
 * What the engine counts, and the main isolate where engines are lost. A counter that is declared
 * here is part of its statistics, is summed over the lives of its isolates, and is shown by its
 * metric: all that is left is to count it.
 */
export const ENGINE_COUNTERS = {
  numSteps: {
    metric: "quire:steps_total",
    help:
      "Steps: passes of schedule, run and commit, each of which may stand for several decode steps",
  },
  numStepTokens: { metric: "quire:step_tokens_total", help: "Positions computed in all steps" },
  numPreemptions: {
    metric: "vllm:num_preemptions_total",
    help: "Sequences that gave their KV blocks back and waited again",
  },
  numCorrupted: {
    metric: "vllm:corrupted_requests_total",
    help: "Sequences ended because the model's outputs were no finite numbers",
  },
  numTimeouts: {
    metric: "quire:request_timeouts_total",
    help: "Sequences ended because the timeout of their request had passed",
  },
  numRecomputedTokens: {
    metric: "quire:recomputed_tokens_total",
    help: "Positions computed again after a preemption or the loss of an engine",
  },
  numComputedPromptTokens: {
    help: "Prompt positions computed, recomputation after preemption included",
  },
  numPromptTokens: {
    metric: "vllm:prompt_tokens_total",
    help: "Prompt tokens processed, cached ones included",
  },
  numCachedPromptTokens: {
    metric: "vllm:prompt_tokens_cached_total",
    help: "Those of the prompt tokens processed that were found in the prefix cache or shared",
  },
  numFurtherDecodeSteps: {
    metric: "quire:further_decode_steps_total",
    help: "Decode steps that were submitted together with the one before",
  },
  numWastedTokens: {
    metric: "quire:wasted_tokens_total",
    help: "Tokens drawn behind the end of their sequence, in such steps, and dropped",
  },
  numGeneratedTokens: { metric: "vllm:generation_tokens_total", help: "Tokens generated" },
  numQueriedTokens: {
    metric: "vllm:prefix_cache_queries_total",
    help: "Prompt tokens looked up in the prefix cache",
  },
  numHitTokens: {
    metric: "vllm:prefix_cache_hits_total",
    help: "Prompt tokens found in the prefix cache",
  },
  numEvictedTokens: { help: "Prompt tokens not found that had been cached and evicted of late" },
  numUnsharableTokens: {
    help: "Prompt tokens that are never found: the last, and its part of a block",
  },
  numRequeriedTokens: {
    metric: "quire:preempted_prefix_cache_queries_total",
    help: "Tokens of preempted and resumed sequences looked up in the prefix cache",
  },
  numRehitTokens: {
    metric: "quire:preempted_prefix_cache_hits_total",
    help: "Tokens of preempted and resumed sequences found in the prefix cache",
  },
  numEvictedBlocks: { help: "Blocks evicted from the prefix cache to make room" },
  numResetBlocks: { help: "Blocks dropped from the prefix cache because it was reset" },
  numSwappedOutBlocks: {
    metric: "quire:swapped_out_blocks_total",
    help: "Blocks of preempted sequences copied to host memory",
  },
  numSwappedInBlocks: {
    metric: "quire:swapped_in_blocks_total",
    help: "Blocks copied back from host memory",
  },
  swappedOutBytes: { help: "Bytes copied to host memory" },
  swappedInBytes: { help: "Bytes copied back from host memory" },
  numSwapsRefused: { help: "Preempted sequences computed again since host memory had no room" },
  numSwapsEvicted: {
    help: "Sequences computed again in spite of host memory since shared blocks had been evicted",
  },
  numSwapsCorrupt: { help: "Sequences computed again since host memory had not kept a block" },
  numPoolGrowths: {
    metric: "quire:kv_pool_growths_total",
    help: "Times the KV pool has grown by itself",
  },
  numPoolResizes: {
    metric: "quire:kv_pool_resizes_total",
    help: "Times the KV pool has been resized on demand",
  },
  numLosses: {
    metric: "quire:engine_losses_total",
    help: "Engines lost with their KV cache: they failed or hung while they were ready",
  },
  numResumedRequests: {
    metric: "quire:resumed_requests_total",
    help: "Requests that an engine has taken over from one that was lost",
  },
  numShrinkEvictedBlocks: { help: "Those of the evicted blocks that a smaller pool lacked" },
  stepMs: { metric: "quire:step_seconds_total", help: "Time of all steps", perUnit: 1000 },
  hostMs: {
    metric: "quire:host_seconds_total",
    help: "Part of the steps' time in which the device waited for the host",
    perUnit: 1000,
  },
  overlappedMs: {
    metric: "quire:overlapped_host_seconds_total",
    help: "Host work done while the device was busy",
    perUnit: 1000,
  },
} as const satisfies Readonly<Record<string, StatDeclaration>>;

/**
 * What the engine has at a moment. `numPinnedBlocks` counts a block that two pins share twice, and
 * is part of those in use; `numCachedBlocks` are blocks that the prefix cache alone holds.
 */
export const ENGINE_GAUGES = {
  numRunning: {
    metric: "vllm:num_requests_running",
    help: "Sequences running, each beam of a search one",
  },
  numWaiting: {
    metric: "vllm:num_requests_waiting",
    help: "Sequences waiting, preempted ones included, a beam search one",
  },
  numDeferred: {
    help: "Those of the waiting sequences that others overtake until more is computed",
  },
  numBlocks: { help: "Blocks of the KV pool" },
  numFreeBlocks: { help: "Blocks that hold nothing" },
  numCachedBlocks: { help: "Blocks that the prefix cache alone holds, which can be evicted" },
  numPinnedBlocks: {
    metric: "quire:pinned_blocks",
    help: "KV blocks that pins keep from eviction, a shared one counted for each",
  },
  numSwapped: {
    metric: "vllm:num_requests_swapped",
    help: "Sequences waiting with blocks in host memory",
  },
  numSwapBlocks: {
    metric: "quire:swap_blocks",
    help: "Blocks that host memory has room for (slabs, where groups share it)",
  },
  numUsedSwapBlocks: { metric: "quire:swap_used_blocks", help: "Those of them in use" },
} as const satisfies Readonly<Record<string, StatDeclaration>>;

/** A counter's name in the statistics. */
export type CounterName = keyof typeof ENGINE_COUNTERS;

/** A gauge's name in the statistics. */
export type GaugeName = keyof typeof ENGINE_GAUGES;

/** The names of all counters. */
export const COUNTER_NAMES = Object.keys(ENGINE_COUNTERS) as readonly CounterName[];

/** Every counter by name; they never go down while an isolate lives. Times are milliseconds. */
export type EngineCounts = Readonly<Record<CounterName, number>>;

/** Counters and gauges of the engine, posted with each step's events. */
export type EngineStats = EngineCounts & Readonly<Record<GaugeName, number>>;

/** All counters at 0, to be counted up. */
export function zeroCounts(): Record<CounterName, number> {
  return zeros(COUNTER_NAMES);
}

/** Statistics of an engine that has done nothing and has no pool. */
export function zeroStats(): EngineStats {
  return { ...zeroCounts(), ...zeros(Object.keys(ENGINE_GAUGES) as GaugeName[]) };
}

function zeros<Name extends string>(names: readonly Name[]): Record<Name, number> {
  return Object.fromEntries(names.map((name) => [name, 0])) as Record<Name, number>;
}
