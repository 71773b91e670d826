import type { Batch, ChunkResult } from "../core/batch.ts";
import type { PoolGroups } from "../core/cache_group.ts";
import type { EngineCommand } from "../core/engine_command.ts";
import type {
  EngineConfig,
  EvictionPolicyName,
  SchedulingSettings,
} from "../core/engine_config.ts";
import type { GenerationRequest } from "../core/generation.ts";
import type { RequestId, SequenceId } from "../core/ids.ts";
import type { StepBounds } from "../core/step_bounds.ts";
import type { SwapCosts, SwapSpace } from "../core/swap_space.ts";

/** The sizes that decide which plans are made, with those of the pool at the start. */
export interface StepTraceSizes extends PoolGroups, SchedulingSettings {
  readonly numBlocks: number;
  /** Token positions per block. */
  readonly blockSize: number;
  readonly stateSnapshotInterval?: number;
  /** Absent: the block manager's default. */
  readonly numWatermarkBlocks?: number;
  readonly maxModelLen: number;
  readonly shortContextLen?: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly maxNumQueuedSeqs: number;
  /** Absent: preempted sequences are computed again. */
  readonly swapSpace?: SwapSpace;
  /** Absent without a prefix cache. */
  readonly evictionPolicy?: EvictionPolicyName;
}

/** A command that changes what is planned afterwards. */
export type StepTraceCommand = Extract<
  EngineCommand,
  { readonly type: "reset_prefix_cache" | "pin_prefix" | "unpin_prefix" }
>;

/** One thing that happened in an engine, in order: all that its plans and its tokens depend on. */
export type StepTraceEntry =
  /**
   * An engine begins; what stands before is another's. `config` is there where a model is loaded.
   */
  | { readonly type: "start"; readonly sizes: StepTraceSizes; readonly config?: EngineConfig }
  /** A request has been accepted. */
  | { readonly type: "add"; readonly request: GenerationRequest }
  | { readonly type: "abort"; readonly requestId: RequestId; readonly index?: number }
  | { readonly type: "command"; readonly command: StepTraceCommand }
  /** The pool has been resized; `grownFor` as the scheduler was told. */
  | { readonly type: "resize"; readonly numBlocks: number; readonly grownFor?: SequenceId }
  /** The scheduler has been told what copying and computing take. */
  | { readonly type: "costs"; readonly costs: SwapCosts }
  /** A step has been planned, within `bounds`; without a `batch` there was none to plan. */
  | { readonly type: "plan"; readonly bounds?: StepBounds; readonly batch?: Batch }
  /** What the device has made of the latest plan. */
  | { readonly type: "results"; readonly step: number; readonly results: readonly ChunkResult[] };

/** An entry with what the clock of the prefix cache showed as it happened, milliseconds. */
export type StepTraceRecord = StepTraceEntry & { readonly ms: number };

/** Fields that hold token ids or bits wherever they stand: `Uint32Array`s. */
const UINT32_FIELDS: ReadonlySet<string> = new Set([
  "tokens",
  "prompt",
  "counts",
  "allowedTokens",
  "rows",
]);

/** Fields that hold 32-bit floating point numbers wherever they stand: `Float32Array`s. */
const FLOAT32_FIELDS: ReadonlySet<string> = new Set(["biases", "before", "sum"]);

/** The record as one line of JSON, without its end: typed arrays as lists, -Infinity as a text. */
export function formatStepTraceRecord(record: StepTraceRecord): string {
  return JSON.stringify(record, (field, value) => {
    // What it allows stands in each plan; its memory is large.
    if (field === "grammar") return { key: value.key };
    if (ArrayBuffer.isView(value)) return Array.from(value as Uint32Array | Float32Array);
    return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
  });
}

/**
 * Reads a line that {@link formatStepTraceRecord} has written. @throws {SyntaxError} on other text.
 */
export function parseStepTraceRecord(line: string): StepTraceRecord {
  return JSON.parse(line, (field, value) => {
    if (UINT32_FIELDS.has(field)) return Uint32Array.from(value);
    if (FLOAT32_FIELDS.has(field)) return Float32Array.from(value, Number);
    return field === "logprob" ? Number(value) : value;
  });
}
