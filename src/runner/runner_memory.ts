import { attentionQueryTile } from "../../kernels/attention/paged_attention.ts";
import type { Tuning } from "../../kernels/tuning/tuning.ts";
import type { Activations, Model } from "../../models/model.ts";
import { positionTable, shortContext } from "./long_rows.ts";
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
 * @throws {RangeError} when the device has no room.
 */
export async function allocateMemory(inputs: RunnerInputs): Promise<RunnerMemory> {
  const { device, engine, model, budget } = inputs;
  const activations = await createActivations(inputs, defaultTuning(device, engine));
  const { slabBytes } = kvMemory(model, engine).layout;
  const storage = await KvStorage.create(device, { numSlabs: budget.numBlocks, slabBytes });
  return { activations, storage };
}

/**
 * The configuration with `maxNumSeqs` and `maxNumBatchedTokens` lowered until the device can bind a
 * step's activations. `notices` says in words what was lowered, and why.
 *
 * @throws {StartupError} when it cannot even bind those of one token or one sequence.
 */
export function bindableSteps(
  inputs: Pick<RunnerInputs, "device" | "engine" | "model" | "budget">,
): { engine: EngineConfig; notices: readonly string[] } {
  const { device, engine, model } = inputs;
  const tuning = defaultTuning(device, engine);
  // Refuses contexts that attention has no room for, before anything is loaded.
  stepLimits(inputs, tuning);
  const { maxTokens, maxSeqs, notices } = boundStep(
    { maxTokens: engine.maxNumBatchedTokens, maxSeqs: engine.maxNumSeqs },
    activationSizes(model, tuning),
    device.maxBindingBytes,
  );
  return { engine: { ...engine, maxNumSeqs: maxSeqs, maxNumBatchedTokens: maxTokens }, notices };
}

/**
 * The largest step that runs under a tuning.
 *
 * @throws {StartupError} when the device cannot bind what attention keeps of one sequence.
 */
export function stepLimits(
  { device, engine, budget, model }: Pick<RunnerInputs, "device" | "engine" | "budget" | "model">,
  tuning: Tuning,
): StepLimits {
  invariant(
    engine.blockSize % tuning.positionTile === 0,
    `block size ${engine.blockSize} is no multiple of ${tuning.positionTile}`,
  );
  const { splitLen } = tuning;
  const { maxModelLen } = budget;
  return {
    maxTokens: engine.maxNumBatchedTokens,
    maxSeqs: engine.maxNumSeqs,
    splitLen,
    maxSplits: maxSplits(
      { maxSeqs: engine.maxNumSeqs, maxModelLen, splitLen },
      activationSizes(model, tuning),
      device.maxBindingBytes,
    ),
    maxBlocksPerSeq: numBlocksForTokens(budget.maxModelLen, engine.blockSize),
    blockSize: engine.blockSize,
    queryTile: queryTile(model, tuning),
    spans: kvMemory(model, engine).groups.map(readSpan),
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

async function createActivations(inputs: RunnerInputs, tuning: Tuning): Promise<Activations> {
  const { device, model, budget } = inputs;
  const limits = stepLimits(inputs, tuning);
  const sizes = activationSizes(model, tuning);
  const words = (label: string, count: number) => device.createBuffer(label, 4 * count);
  const buffers: Record<string, DeviceBuffer> = { step: await words("step", maxStepWords(limits)) };
  const add = async (of: Readonly<Record<string, number>>, count: number) => {
    for (const [name, size] of Object.entries(of)) buffers[name] = await words(name, count * size);
  };
  for (const [name, spec] of Object.entries(model.positionTables)) {
    const table = positionTable(spec, { ...shortContext(model, budget), ...budget });
    buffers[name] = await words(name, table.length);
    device.write(buffers[name], 0, new Uint8Array(table.buffer));
  }
  await add(sizes.perToken, limits.maxTokens);
  await add(sizes.perSplit, limits.maxSplits);
  await add(sizes.perSequence, limits.maxSeqs);
  const own = Object.fromEntries(OWN_BUFFERS.map((name) => [name, buffers[name]!]));
  return { ...own as Record<typeof OWN_BUFFERS[number], DeviceBuffer>, declared: buffers };
}
