import { EVICTION_POLICIES, SCHEDULING_POLICIES } from "../../src/core/engine_config.ts";
import { allocators, engine, type ServerSizes, type Variant } from "./allocators.ts";
import { type Load, maxLenOf } from "./load.ts";
import { agents, chats, grouped, singleTurns, tenants } from "./synthetic_loads.ts";
import { azureLoad, mooncakeLoad } from "./trace_loads.ts";

/** One load through several servers. */
export interface Race {
  readonly load: () => Load;
  readonly sizes: (load: Load) => ServerSizes;
  readonly variants: (sizes: ServerSizes) => readonly Variant[];
}

/** Races that answer one question. */
export interface Comparison {
  readonly name: string;
  readonly title: string;
  readonly races: readonly Race[];
}

/** What comparisons are made of. */
export interface ComparisonOptions {
  /** The text of a file with a workload trace, or undefined where there is none. */
  readonly readWorkloadTrace: (file: string) => string | undefined;
  /** Requests of each load, as a share of the usual number. */
  readonly scale: number;
  readonly seed: number;
}

/** Positions in one step of every server. */
const STEP_TOKENS = 2048;

/** Servers with so much memory, made for the longest request of a load. */
function sized(poolTokens: number, maxNumSeqs = 128): Race["sizes"] {
  return (load) => ({
    poolTokens,
    maxModelLen: Math.ceil(maxLenOf(load) / 256) * 256,
    maxNumSeqs,
    maxNumBatchedTokens: STEP_TOKENS,
  });
}

/** All comparisons; those of workload traces are left out where there are none. */
export function comparisons(options: ComparisonOptions): Comparison[] {
  const { scale, seed } = options;
  const size = (count: number, perSecond: number) => ({
    count: Math.max(1, Math.ceil(count * scale)),
    perSecond,
    seed,
  });
  const traces = workloadTraceLoads(options);
  return [
    {
      name: "allocators",
      title: "How KV memory is divided",
      races: [
        {
          load: () => singleTurns(size(1000, 3.6)),
          sizes: sized(32_768),
          variants: allocators,
        },
        { load: () => chats(size(250, 0.5)), sizes: sized(65_536), variants: allocators },
        { load: () => agents(size(60, 0.1)), sizes: sized(262_144), variants: allocators },
        ...traces.map((load) => ({ load, sizes: sized(262_144), variants: allocators })),
      ],
    },
    {
      name: "scheduling",
      title: "Whose turn it is",
      races: [
        { load: () => tenants(size(900, 3.6)), sizes: sized(32_768, 32), variants: schedulers },
        { load: () => chats(size(250, 0.7)), sizes: sized(65_536, 32), variants: schedulers },
        {
          load: () => grouped({ ...GROUPS, order: "interleaved" }),
          sizes: sized(12_288, 8),
          variants: schedulers,
        },
      ],
    },
    {
      name: "preemption",
      title: "What becomes of preempted requests",
      races: [
        {
          load: () => singleTurns(size(1000, 3.6)),
          sizes: sized(16_384),
          variants: preemptions,
        },
        { load: () => chats(size(250, 0.5)), sizes: sized(32_768), variants: preemptions },
      ],
    },
    {
      name: "eviction",
      title: "What is dropped first",
      races: [16_384, 32_768].flatMap((poolTokens) => [
        { load: () => chats(size(250, 0.3)), sizes: sized(poolTokens), variants: evictions },
        { load: () => agents(size(60, 0.06)), sizes: sized(2 * poolTokens), variants: evictions },
      ]),
    },
  ];
}

/** Few-shot prompts: 24 groups of twenty. */
const GROUPS = { numGroups: 24, perGroup: 20, sharedLen: 1024, ownLen: 128 };

/** The workload trace of each kind that is present, cut to what one such server can serve. */
function workloadTraceLoads({ readWorkloadTrace, scale }: ComparisonOptions): (() => Load)[] {
  const cut = (maxRequests: number, speed: number) => ({
    maxRequests: Math.max(1, Math.ceil(maxRequests * scale)),
    speed,
  });
  const mooncake = (file: string, speed: number) => {
    const text = readWorkloadTrace(file);
    const name = `Mooncake ${file.split("_")[0]}`;
    return text === undefined ? [] : [() => mooncakeLoad(text, name, cut(600, speed))];
  };
  const azure = (kind: string, speed: number) => {
    const text = readWorkloadTrace(`AzureLLMInferenceTrace_${kind}.csv`);
    return text === undefined ? [] : [() => azureLoad(text, `Azure ${kind}`, cut(1000, speed))];
  };
  return [
    ...mooncake("conversation_trace.jsonl", 0.02),
    ...mooncake("synthetic_trace.jsonl", 0.01),
    ...azure("code", 0.12),
    ...azure("conv", 0.45),
  ];
}

function schedulers(sizes: ServerSizes): Variant[] {
  return SCHEDULING_POLICIES.map((name) => ({
    name,
    make: engine(sizes, { schedulingPolicy: name, evictionPolicy: "lru" }),
  }));
}

/** Computed again or copied to host memory, with and without blocks left over for growth. */
function preemptions(sizes: ServerSizes): Variant[] {
  return [0, 1].flatMap((scheduleConservativeness) =>
    [false, true].map((hasHostMemory) => ({
      name: `${hasHostMemory ? "host" : "compute"} at ${100 * scheduleConservativeness}`,
      make: engine(sizes, { evictionPolicy: "lru", scheduleConservativeness, hasHostMemory }),
    }))
  );
}

/** Without wishes of requests, `priority` is `lru`. */
function evictions(sizes: ServerSizes): Variant[] {
  return EVICTION_POLICIES.filter((name) => name !== "priority").map((name) => ({
    name,
    make: engine(sizes, { evictionPolicy: name }),
  }));
}
