import type { Model } from "../../models/model.ts";
import { largestThat } from "../base/math.ts";
import { omitUndefined } from "../base/omit_undefined.ts";
import type { EngineConfig } from "../core/engine_config.ts";
import { StartupError } from "../core/errors.ts";
import type { Device } from "../device/device.ts";
import type { UnifiedMemory } from "./unified_memory.ts";
import { askedLength, type BudgetLimits, type KvBudget, kvBudget } from "./memory_budget.ts";
import { activationBytes, bindableSteps } from "./runner_memory.ts";
import type { WeightSource } from "./upload_weights.ts";

/** What is known of a model and its device before anything is loaded. */
export interface MemoryInputs {
  readonly device: Device;
  readonly config: EngineConfig;
  readonly model: Model;
  readonly sources: readonly WeightSource[];
  /** The host's memory, where the device uses it; absent where it has memory of its own. */
  readonly host?: UnifiedMemory;
}

/** A known amount of memory. */
export interface MemoryLimit {
  readonly bytes: number;
  /** Such as `--gpu-memory-bytes 8 GiB`. */
  readonly text: string;
  readonly isFlag: boolean;
}

/** Limits of the KV pool. */
export function budgetLimits(
  { device, model, host }: Pick<MemoryInputs, "device" | "model" | "host">,
): BudgetLimits {
  return {
    modelMaxLen: model.maxPositionEmbeddings,
    maxBindingBytes: device.maxBindingBytes,
    ...omitUndefined({ hostFreeBytes: host?.freeBytes }),
  };
}

/** A pool, and what steps over it take. */
export interface StepMemory {
  readonly budget: KvBudget;
  /** With the steps that the device can bind. */
  readonly config: EngineConfig;
  /** What was lowered for that, as sentences. */
  readonly notices: readonly string[];
  readonly activationBytes: number;
}

/** A budget, and the steps that it is for. */
export function stepMemory(
  { device, config, model }: Pick<MemoryInputs, "device" | "config" | "model">,
  budget: KvBudget,
): StepMemory {
  const steps = bindableSteps({ device, config, model, budget });
  const inputs = { device, config: steps.config, model, budget };
  return { budget, ...steps, activationBytes: activationBytes(inputs) };
}

/**
 * Tokens of the longest context for which so much memory has room beside weights of so many bytes,
 * at most what is asked for; 0 for none.
 */
export function longestWithin(
  inputs: MemoryInputs,
  memoryBytes: number,
  weightBytes: number,
): number {
  const most = askedLength(inputs.config) ?? inputs.model.maxPositionEmbeddings;
  return largestThat(most, (len) => {
    try {
      budgetWithin(inputs, memoryBytes - weightBytes, len);
      return true;
    } catch (error) {
      if (error instanceof StartupError) return false;
      throw error;
    }
  });
}

/** The pool that so much memory leaves beside the activations of a context. @throws StartupError */
export function budgetWithin(
  inputs: MemoryInputs,
  memoryBytes: number,
  maxModelLen: number,
): KvBudget {
  const { config, model } = inputs;
  const kvCacheMemoryBytes = memoryBytes - activationBytesFor(inputs, maxModelLen);
  return kvBudget({ ...config, kvCacheMemoryBytes, maxModelLen }, model, budgetLimits(inputs));
}

/** Bytes of the activations of steps with contexts of at most so many tokens. */
export function activationBytesFor(inputs: MemoryInputs, maxModelLen: number): number {
  return stepMemoryFor(inputs, maxModelLen).activationBytes;
}

/** The steps for contexts of at most so many tokens. @throws StartupError */
export function stepMemoryFor(inputs: MemoryInputs, maxModelLen: number): StepMemory {
  return stepMemory(inputs, { numBlocks: 0, maxNumBlocks: 0, bytes: 0, maxModelLen });
}

/** Whether the device can bind what attention keeps of a context of so many tokens. */
function canBind(inputs: MemoryInputs, maxModelLen: number): boolean {
  try {
    stepMemoryFor(inputs, maxModelLen);
    return true;
  } catch (error) {
    if (error instanceof StartupError) return false;
    throw error;
  }
}

/** The longest context up to `limit` that attention has room for. */
export function longestBindable(inputs: MemoryInputs, limit: number): number {
  return largestThat(limit, (len) => canBind(inputs, len));
}
