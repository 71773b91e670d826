import { formatByteSize } from "../base/byte_size.ts";
import { StartupError } from "../core/errors.ts";
import { smallerHint } from "./does_not_fit.ts";
import { budgetLimits, type MemoryInputs, stepMemory } from "./fit_context.ts";
import { kvBudget } from "./memory_budget.ts";
import { isPoolGiven, type MemoryPlan } from "./plan_memory.ts";
import type { RunnerInputs } from "./runner_inputs.ts";
import { allocateMemory, type RunnerMemory } from "./runner_memory.ts";
import type { UploadedWeights } from "./upload_weights.ts";

/** Share of a pool without room on the device that is tried next. */
const SHARE_OF_NEXT = 7 / 8;

/** A runner's inputs with the memory that they got. */
export interface AllocatedModel {
  readonly inputs: RunnerInputs;
  readonly memory: RunnerMemory;
}

/**
 * Allocates the planned pool and activations beside the weights. Where the device turns out to have
 * less room, a pool whose size the user has left open becomes smaller, and with it the longest
 * context, unless the user has named one; `tell` is told.
 *
 * @throws {StartupError} when there is no room, with what to lower.
 */
export async function allocateModel(
  inputs: MemoryInputs,
  plan: MemoryPlan,
  { weights, tell }: {
    readonly weights: UploadedWeights;
    readonly tell: (notice: string) => void;
  },
): Promise<AllocatedModel> {
  const { device, model } = inputs;
  let next: Pick<MemoryPlan, "config" | "budget"> = plan;
  while (true) {
    const { config, budget } = next;
    const given = { device, config, model, weights, budget };
    try {
      const memory = await allocateMemory(given);
      if (budget !== plan.budget) tell(shrunkText(plan, given));
      return { inputs: given, memory };
    } catch (error) {
      const smaller = smallerPlan(inputs, plan, budget.numBlocks);
      if (smaller === undefined) outOfMemory(error, smallerHint(inputs, weights.bytes));
      if (!(error instanceof RangeError)) throw error;
      next = smaller;
    }
  }
}

/** Undefined where the pool's size is the user's, or nothing smaller holds what is asked for. */
function smallerPlan(
  inputs: MemoryInputs,
  { limit }: MemoryPlan,
  numBlocks: number,
): Pick<MemoryPlan, "config" | "budget"> | undefined {
  const { config, model } = inputs;
  const numBlocksOverride = Math.floor(numBlocks * SHARE_OF_NEXT);
  if (isPoolGiven(config) || limit?.isFlag === true || numBlocksOverride < 1) return undefined;
  try {
    const budget = kvBudget({ ...config, numBlocksOverride }, model, budgetLimits(inputs));
    return stepMemory(inputs, budget);
  } catch (error) {
    if (error instanceof StartupError) return undefined;
    throw error;
  }
}

function shrunkText({ budget: planned }: MemoryPlan, { budget }: RunnerInputs): string {
  return `the device has no room for a KV pool of ${formatByteSize(planned.bytes)}: it has ` +
    `${formatByteSize(budget.bytes)}, for contexts of at most ${budget.maxModelLen} tokens`;
}

/** @throws {StartupError} with what to lower, where the device has no room; else `error`. */
function outOfMemory(error: unknown, hint: string): never {
  if (!(error instanceof RangeError)) throw error;
  throw new StartupError(
    `The device has no room: ${error.message}; lower --kv-cache-memory-bytes, --max-model-len, ` +
      `--max-num-seqs or --max-num-batched-tokens${hint}`,
  );
}
