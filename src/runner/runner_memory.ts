import { attentionQueryTile } from "../../kernels/attention/paged_attention.ts";
import type { Tuning } from "../../kernels/tuning/tuning.ts";
import type { Activations, Model } from "../../models/model.ts";
import { positionTable, positionTableWords, shortContext } from "./position_table.ts";
import { invariant } from "../base/invariant.ts";
import { numBlocksForTokens } from "../core/kv_layout.ts";
import { readSpan } from "../core/read_span.ts";
import type { EngineConfig } from "../core/engine_config.ts";
import { activationSizes, boundStep, maxSplits } from "./activation_sizes.ts";
import type { RunnerInputs } from "./runner_inputs.ts";
import type { DeviceBuffer } from "../device/kernel.ts";
import { kvMemory } from "./kv_memory.ts";
import { KvStorage } from "./kv_storage.ts";
import { maxStepWords } from "./step_packer.ts";
import type { StepLimits } from "./step_limits.ts";
import { defaultTuning } from "./default_tuning.ts";

/** Everything on the device that a step touches beside the weights. */
export interface RunnerMemory {
  readonly activations: Activations;
  readonly storage: KvStorage;
}

/** What the runner itself keeps beside the buffers that models declare. */
const OWN_BUFFERS = [
  ...["step", "codes", "scales", "partials", "stats", "logits", "segments", "sampled"] as const,
];

/**
 * Allocates the KV pool and the activations, large enough for the device's default tuning and for
 * all of its variants, which take no more.
 *
 * @throws {RangeError} when the device has no room; nothing of it is kept.
 */
export async function allocateMemory(inputs: RunnerInputs): Promise<RunnerMemory> {
  const { device, config, model, budget } = inputs;
  const activations = await createActivations(inputs, defaultTuning(device, config));
  const { slabBytes } = kvMemory(model, config).layout;
  try {
    const storage = await KvStorage.create(device, { numSlabs: budget.numBlocks, slabBytes });
    return { activations, storage };
  } catch (error) {
    Object.values(activations.declared).forEach((buffer) => device.destroyBuffer(buffer));
    throw error;
  }
}

/**
 * The configuration with `maxNumSeqs` and `maxNumBatchedTokens` lowered until the device can bind a
 * step's activations. `notices` says what was lowered, and why.
 *
 * @throws {StartupError} when it cannot even bind those of one token or one sequence.
 */
export function bindableSteps(
  inputs: StepInputs,
): { config: EngineConfig; notices: readonly string[] } {
  const { device, config, model } = inputs;
  const tuning = defaultTuning(device, config);
  // Refuses contexts that attention has no room for, before anything is loaded.
  stepLimits(inputs, tuning);
  const { maxTokens, maxSeqs, notices } = boundStep(
    { maxTokens: config.maxNumBatchedTokens, maxSeqs: config.maxNumSeqs },
    activationSizes(model, tuning),
    device.maxBindingBytes,
  );
  return { config: { ...config, maxNumSeqs: maxSeqs, maxNumBatchedTokens: maxTokens }, notices };
}

/**
 * The largest step that runs under a tuning.
 *
 * @throws {StartupError} when the device cannot bind what attention keeps of one sequence.
 */
export function stepLimits(
  { device, config, budget, model }: StepInputs,
  tuning: Tuning,
): StepLimits {
  invariant(
    config.blockSize % tuning.positionTile === 0,
    `block size ${config.blockSize} is no multiple of ${tuning.positionTile}`,
  );
  const { splitLen } = tuning;
  const { maxModelLen } = budget;
  return {
    maxTokens: config.maxNumBatchedTokens,
    maxSeqs: config.maxNumSeqs,
    splitLen,
    maxSplits: maxSplits(
      { maxSeqs: config.maxNumSeqs, maxModelLen, splitLen },
      activationSizes(model, tuning),
      device.maxBindingBytes,
    ),
    maxBlocksPerSeq: numBlocksForTokens(budget.maxModelLen, config.blockSize),
    blockSize: config.blockSize,
    queryTile: queryTile(model, tuning),
    spans: kvMemory(model, config).groups.map(readSpan),
    ...shortContext(model, budget),
  };
}

/** Rows of a prefill tile, which all layers have room for. */
function queryTile({ attention }: Pick<Model, "attention">, tuning: Tuning): number {
  const heads = attention.filter((each) => each !== undefined);
  return Math.min(
    ...heads.map(({ numHeads: H, numKvHeads: G }) => attentionQueryTile({ H, G }, tuning)),
  );
}

/** What the sizes of a step's buffers depend on. */
export type StepInputs = Pick<RunnerInputs, "device" | "config" | "model" | "budget">;

/** Bytes of the buffers that a step passes through beside weights and KV. */
export function activationBytes(inputs: StepInputs): number {
  const planned = plannedBuffers(inputs, defaultTuning(inputs.device, inputs.config));
  return planned.reduce((sum, { words }) => sum + 4 * words, 0);
}

/** A buffer before it exists. */
interface PlannedBuffer {
  readonly name: string;
  readonly words: number;
  /** What a position table holds. */
  readonly table?: () => Float32Array<ArrayBuffer>;
}

function plannedBuffers(inputs: StepInputs, tuning: Tuning): PlannedBuffer[] {
  const { model, budget } = inputs;
  const limits = stepLimits(inputs, tuning);
  const sizes = activationSizes(model, tuning);
  const lengths = { ...shortContext(model, budget), ...budget };
  const times = (perUnit: Readonly<Record<string, number>>, count: number) =>
    Object.entries(perUnit).map(([name, size]) => ({ name, words: count * size }));
  return [
    { name: "step", words: maxStepWords(limits) },
    ...Object.entries(model.positionTables).map(([name, spec]) => ({
      name,
      words: positionTableWords(spec, lengths),
      table: () => positionTable(spec, lengths),
    })),
    ...times(sizes.perToken, limits.maxTokens),
    ...times(sizes.perSplit, limits.maxSplits),
    ...times(sizes.perSequence, limits.maxSeqs),
  ];
}

async function createActivations(inputs: StepInputs, tuning: Tuning): Promise<Activations> {
  const { device } = inputs;
  const buffers: Record<string, DeviceBuffer> = {};
  try {
    for (const { name, words, table } of plannedBuffers(inputs, tuning)) {
      buffers[name] = await device.createBuffer(name, 4 * words);
      if (table !== undefined) device.write(buffers[name], 0, new Uint8Array(table().buffer));
    }
  } catch (error) {
    Object.values(buffers).forEach((buffer) => device.destroyBuffer(buffer));
    throw error;
  }
  const own = Object.fromEntries(OWN_BUFFERS.map((name) => [name, buffers[name]!]));
  return { ...own as Record<typeof OWN_BUFFERS[number], DeviceBuffer>, declared: buffers };
}
