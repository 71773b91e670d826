import type { LogLevel } from "../base/log.ts";
import type { PoolGroups } from "./cache_group.ts";
import type { SwapSpace } from "./swap_space.ts";
import type { Int8Activations, Quantization } from "./weight_format.ts";

/** Element types of K and V in the pool, in the order in which they are listed. */
export const KV_CACHE_DTYPES = ["f16", "f32", "int8", "fp8", "int4"] as const;

/** Element type of K and V; int8, fp8 (e4m3) and int4 with a scale per token and head. */
export type KvCacheDtype = (typeof KV_CACHE_DTYPES)[number];

/** In which order cached blocks are dropped, the default first (`docs/simulator.md` compares). */
export const EVICTION_POLICIES = [
  "lru",
  "slru",
  "priority",
  "hits-per-token",
  "tail-lru",
  "reuse",
] as const;

/** Name of an order of eviction. */
export type EvictionPolicyName = (typeof EVICTION_POLICIES)[number];

/** Policies of scheduling, the default first (`src/scheduler/policies`). */
export const SCHEDULING_POLICIES = ["fcfs", "priority", "lpm", "fair"] as const;

/** Who is admitted next, and who gives way. */
export type SchedulingPolicyName = (typeof SCHEDULING_POLICIES)[number];

/** How requests are scheduled; what is absent has the scheduler's default. */
export interface SchedulingSettings {
  /** Default: `fcfs`. */
  readonly schedulingPolicy?: SchedulingPolicyName;
  /**
   * Most tokens of one prompt in a step while others wait or compute their prompts: a prompt with
   * more to compute is a long one. Default: no limit.
   */
  readonly longPrefillTokenThreshold?: number;
  /** Most long prompts computed at a time; shorter ones pass those that wait. Default: 1. */
  readonly maxLongPartialPrefills?: number;
  /**
   * What answers are expected to grow, as a factor of what those that have ended say: admissions
   * leave blocks over for it. Default: 0, an admission needs the blocks of its own tokens alone.
   */
  readonly scheduleConservativeness?: number;
  /** Most decode steps that one plan stands for where nobody waits. Default: 1. */
  readonly maxDecodeSteps?: number;
}

/** Which device runs the model: the first that fits, a WebGPU adapter, or plain TypeScript. */
export type DeviceChoice = "auto" | "webgpu" | "cpu";

/** Whose WebGPU: Deno's own, or Dawn from an npm package that the user installed. */
export type GpuBackend = "deno" | "dawn";

/** Whether a start times kernels that have no stored times: on GPUs, always, never. */
export type Autotune = "auto" | "on" | "off";

/** Other weights of a model, by the name that serves them. */
export interface OtherFile {
  /** Such as `org/name:Q4_K_M`. */
  readonly name: string;
  /** Of the file, or of its parts. */
  readonly bytes: number;
}

/** What the engine isolate needs to know; a plain object, since it is posted to a Worker. */
export interface EngineConfig extends SchedulingSettings {
  /** A directory with `config.json`, `*.safetensors` and the tokenizer's files, or a GGUF file. */
  readonly modelDir: string;
  readonly device: DeviceChoice;
  /**
   * How weight matrices are quantized; absent, they keep the type they are stored in, or get the
   * nearest format to it.
   */
  readonly quantization?: Quantization;
  /** Default: `off`. */
  readonly int8Activations?: Int8Activations;
  /** Default: `deno`. */
  readonly gpuBackend?: GpuBackend;
  /** Default: `auto`. */
  readonly autotune?: Autotune;
  /** File with the times of kernels; absent: none. */
  readonly tuningStore?: string;
  /** File of the step trace, to which requests, plans and tokens are appended (`src/engine`). */
  readonly traceSteps?: string;
  /** How the isolate's log lines are written; default: `text`. */
  readonly logFormat?: "text" | "json";
  /** Lowest level of the isolate's log lines; default: `info`. */
  readonly logLevel?: LogLevel;
  /** Whether logits have the same bits alone and in any batch and chunk; default: false. */
  readonly isDeterministic?: boolean;
  /** Token positions per KV block. */
  readonly blockSize: number;
  /** Exact pool size in blocks; wins over `kvCacheMemoryBytes`. */
  readonly numBlocksOverride?: number;
  /** Pool size in bytes, all layers together. */
  readonly kvCacheMemoryBytes?: number;
  /** Bytes that weights, activations and pool may take together. */
  readonly gpuMemoryBytes?: number;
  /** Other files of the model's repository, which are named where it does not fit. */
  readonly otherFiles?: readonly OtherFile[];
  /** Without a size: most bytes that the pool may grow to under load. */
  readonly maxKvCacheMemoryBytes?: number;
  /** Host memory for blocks of preempted sequences, in bytes; absent: none. */
  readonly swapMemoryBytes?: number;
  readonly kvCacheDtype: KvCacheDtype;
  /**
   * Whether the first and the last layer keep f16 where the dtype is quantized; default: for int4.
   */
  readonly kvCacheF16EdgeLayers?: boolean;
  /** Whether prompts reuse the KV of earlier ones. */
  readonly enablePrefixCaching: boolean;
  /** Which blocks the prefix cache drops first; default: `lru`. */
  readonly evictionPolicy?: EvictionPolicyName;
  /**
   * Every so many tokens of a prompt states are kept; absent: at its end and where prompts part.
   */
  readonly stateSnapshotInterval?: number;
  /**
   * Secret of the deployment that goes into the keys of cached blocks; default: a new one per
   * start.
   */
  readonly cacheSecret?: string;
  /**
   * Most tokens of one sequence, prompt and output; absent means what model and pool allow, "auto"
   * the most that fit, for which the pool is made large enough.
   */
  readonly maxModelLen?: number | "auto";
  /** Most sequences in one step. */
  readonly maxNumSeqs: number;
  /** Most tokens in one step (the chunked-prefill budget). */
  readonly maxNumBatchedTokens: number;
  /** Most time of a step that computes prompts, as measured, ms; absent: no limit. */
  readonly maxPrefillMs?: number;
  /**
   * Most sequences of one owner waiting before its new requests are refused with 429, and of one
   * request.
   */
  readonly maxNumQueuedSeqs: number;
}

/** The phase of a start that runs steps of every kind: its time shows how fast the device is. */
export const WARM_UP_PHASE = "warm up";

/** Where a model runs: on a GPU or its software, or in plain TypeScript. */
export type DeviceKind = "webgpu" | "cpu";

/**
 * Tokens of the largest step of a warm-up, which takes most of its time. Where drivers compile, it
 * is large enough for every kernel; the reference device has nothing to compile, and needs few.
 */
export const WARM_UP_TOKENS: Readonly<Record<DeviceKind, number>> = { webgpu: 64, cpu: 8 };

/** One phase of starting, as measured. */
export interface StartupPhase {
  readonly name: string;
  readonly seconds: number;
}

/** What the engine tells the main isolate once it can serve. */
export interface EngineInfo extends PoolGroups {
  /** The device in words, for people. */
  readonly device: string;
  readonly deviceKind: DeviceKind;
  /** `model_type` of config.json. */
  readonly modelType: string;
  readonly numParameters: number;
  /** Bytes of the weights on the device. */
  readonly weightBytes: number;
  readonly quantization?: Quantization;
  /** Whether products of quantized weights multiply int8 activations; default: false. */
  readonly hasInt8Activations?: boolean;
  readonly vocabSize: number;
  readonly maxModelLen: number;
  /**
   * Most tokens of a sequence whose KV is computed for a short context; absent where there is one
   * kind of KV (`long_context.ts`).
   */
  readonly shortContextLen?: number;
  readonly blockSize: number;
  /** Blocks of the KV pool, as it is now; it may be resized. Slabs, where groups share it. */
  readonly numBlocks: number;
  /** Bytes of the whole KV pool. */
  readonly kvCacheBytes: number;
  /**
   * Blocks that the pool may grow to by itself; `numBlocks` of the start where its size was given.
   */
  readonly maxNumBlocks: number;
  /** Absent where preempted sequences are always computed again. */
  readonly swapSpace?: SwapSpace;
  readonly kvCacheDtype: KvCacheDtype;
  /** As in {@link EngineConfig}. */
  readonly kvCacheF16EdgeLayers?: boolean;
  readonly isDeterministic?: boolean;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly phases: readonly StartupPhase[];
}

/** What the engine says of itself once its pool has `numBlocks` blocks. */
export function withPoolSize(info: EngineInfo, numBlocks: number): EngineInfo {
  if (numBlocks === info.numBlocks) return info;
  const blockBytes = info.kvCacheBytes / info.numBlocks;
  return { ...info, numBlocks, kvCacheBytes: numBlocks * blockBytes };
}
