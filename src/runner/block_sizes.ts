import type { RunnerInputs } from "./runner_inputs.ts";
import { OperationTimer, type OperationTimerOptions } from "./operation_timer.ts";
import { defaultTuning } from "./default_tuning.ts";
import { stepLimits } from "./runner_memory.ts";
import { maxStepWords } from "./step_packer.ts";
import { decodeAttention } from "./tunable_operations.ts";
import { fastest } from "./tune_kernels.ts";

/** Decode attention over the pool cut in blocks of several sizes. */
export interface BlockSizeTimes {
  /** Tokens of each sequence. */
  readonly context: number;
  /** Microseconds per layer by block size in tokens. */
  readonly micros: Readonly<Record<string, number>>;
  /** The fastest size, or the one in use where none is clearly faster. */
  readonly best: number;
}

/** Larger ones leave more of a sequence's last block unused, smaller ones make tables long. */
const SIZES = [8, 16, 32];

/**
 * Times decode attention at contexts of up to `context` tokens with blocks of 8, 16 and 32 tokens
 * and of the size in use. It says what would be fastest; the pool stays as it is.
 */
export async function compareBlockSizes(
  options: OperationTimerOptions,
  context: number,
): Promise<BlockSizeTimes> {
  const { inputs, memory } = options;
  const { device, config } = inputs;
  const tuning = defaultTuning(device, config);
  const sizes = [...new Set([config.blockSize, ...SIZES])];
  const candidates = sizes.map((size) => ({
    name: String(size),
    inputs: withBlockSize(inputs, size),
    tuning,
  })).filter((candidate) => candidate.inputs.budget.numBlocks > 0);
  const words = candidates.map((candidate) => maxStepWords(stepLimits(candidate.inputs, tuning)));
  // Small blocks make longer tables than the step's own buffer was made for.
  const step = await device.createBuffer("step", 4 * Math.max(...words));
  const activations = { ...memory.activations, step };
  const timer = new OperationTimer({ ...options, memory: { ...memory, activations } });
  const operation = decodeAttention(inputs, context);
  const micros = await timer.time(operation, candidates);
  device.destroyBuffer(step);
  const best = Number(fastest(micros, String(config.blockSize)));
  return { context: operation.steps[0]!.context, micros, best };
}

/** The same pool in blocks of another size; a remainder stays unused. */
export function withBlockSize(inputs: RunnerInputs, blockSize: number): RunnerInputs {
  const { config, budget } = inputs;
  const numBlocks = Math.floor(budget.numBlocks * config.blockSize / blockSize);
  return { ...inputs, config: { ...config, blockSize }, budget: { ...budget, numBlocks } };
}
