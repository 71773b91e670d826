import { formatByteSize } from "../base/byte_size.ts";
import { omitUndefined } from "../base/omit_undefined.ts";
import type { EngineConfig } from "../core/engine_config.ts";
import { doesNotFit } from "./does_not_fit.ts";
import {
  budgetLimits,
  budgetWithin,
  longestBindable,
  longestWithin,
  type MemoryInputs,
  type MemoryLimit,
  type StepMemory,
  stepMemory,
  stepMemoryFor,
} from "./fit_context.ts";
import { askedLength, checkKvSettings, type KvBudget, kvBudget } from "./memory_budget.ts";
import { weightsSize } from "./weights_size.ts";

/** Share of the host's free memory that weights, activations and pool may take together. */
const MAX_START_SHARE_OF_HOST = 0.9;
/** Fewest tokens of a context that is worth a start. */
const MIN_CONTEXT = 2;

/** What a start will take of the device. */
export interface MemoryPlan extends StepMemory {
  readonly weightBytes: number;
  /** What it has to fit in, where that is known. */
  readonly limit?: MemoryLimit;
}

/**
 * Plans the memory of a start: weights as the checkpoint's headers say, KV pool and activations.
 * Within `--gpu-memory-bytes` the pool has what the others leave over; a device without memory of
 * its own has what the host has free. How much any other device has is not known before memory is
 * allocated (`allocate_model.ts`).
 *
 * @throws {StartupError} when it does not fit, with what would, and as {@link kvBudget}.
 */
export function planMemory(inputs: MemoryInputs): MemoryPlan {
  const { device, config, model, sources } = inputs;
  checkKvSettings(config, model, model.maxPositionEmbeddings);
  // Refuses what no context, however short, changes.
  stepMemoryFor(inputs, MIN_CONTEXT);
  const weightBytes = weightsSize(sources, config.quantization, device);
  const limit = memoryLimit(inputs);
  const hasFixedPool = isPoolGiven(config);
  if (limit?.isFlag === true && !hasFixedPool) return planWithin(inputs, limit, weightBytes);
  const plan = stepMemory(
    inputs,
    withLongestContext(inputs, kvBudget(config, model, budgetLimits(inputs))),
  );
  const total = weightBytes + plan.activationBytes + plan.budget.bytes;
  if (limit === undefined || total <= limit.bytes) {
    return { ...plan, weightBytes, ...omitUndefined({ limit }) };
  }
  if (!hasFixedPool) return planWithin(inputs, limit, weightBytes);
  throw doesNotFit(inputs, { limit, weightBytes, ...plan });
}

/** Whether the user says how large the KV pool is. */
export function isPoolGiven({ numBlocksOverride, kvCacheMemoryBytes }: EngineConfig): boolean {
  return numBlocksOverride !== undefined || kvCacheMemoryBytes !== undefined;
}

/** The plan's sizes in a line for people. */
export function memoryText(plan: MemoryPlan): string {
  const { weightBytes, activationBytes, budget, limit } = plan;
  const parts = [
    `weights ${formatByteSize(weightBytes)}`,
    `activations ${formatByteSize(activationBytes)}`,
    `KV pool ${formatByteSize(budget.bytes)}`,
  ];
  const within = limit === undefined ? "" : `, within ${limit.text}`;
  return `memory: ${parts.join(", ")}${within}`;
}

/** With "auto" the budget for the longest context that attention has room for. */
function withLongestContext(inputs: MemoryInputs, budget: KvBudget): KvBudget {
  if (inputs.config.maxModelLen !== "auto") return budget;
  return { ...budget, maxModelLen: longestBindable(inputs, budget.maxModelLen) };
}

function planWithin(inputs: MemoryInputs, limit: MemoryLimit, weightBytes: number): MemoryPlan {
  const asked = askedLength(inputs.config);
  const longest = longestWithin(inputs, limit.bytes, weightBytes);
  if (longest < (asked ?? MIN_CONTEXT)) {
    throw doesNotFit(inputs, { limit, weightBytes, numTokens: asked ?? MIN_CONTEXT });
  }
  const budget = budgetWithin(inputs, limit.bytes - weightBytes, asked ?? longest);
  return { ...stepMemory(inputs, budget), weightBytes, limit };
}

function memoryLimit({ config, host }: MemoryInputs): MemoryLimit | undefined {
  const { gpuMemoryBytes } = config;
  if (gpuMemoryBytes !== undefined) {
    const text = `--gpu-memory-bytes ${formatByteSize(gpuMemoryBytes)}`;
    return { bytes: gpuMemoryBytes, text, isFlag: true };
  }
  if (host?.isKnown !== true) return undefined;
  const bytes = Math.floor(MAX_START_SHARE_OF_HOST * host.freeBytes);
  const text = `${formatByteSize(bytes)}, most of the memory that this machine has free`;
  return { bytes, text, isFlag: false };
}
