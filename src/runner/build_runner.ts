import { copyBlocksCalls } from "../../kernels/kv/copy_blocks.ts";
import { samplingCalls } from "../../kernels/sampling/sampling.ts";
import type { StepDims } from "../../kernels/step.ts";
import type { Tuning } from "../../kernels/tuning/tuning.ts";
import type { GraphInputs } from "../../models/model.ts";
import type { DeviceBuffer, KernelCall } from "../device/kernel.ts";
import type { KvStorage } from "./kv_storage.ts";
import { layerKvs } from "./kv_memory.ts";
import { KvDiagnosis } from "./kv_diagnosis.ts";
import { ModelRunner } from "./model_runner.ts";
import { allocateMemory, type RunnerMemory, stepLimits } from "./runner_memory.ts";
import { StepPacker } from "./step_packer.ts";
import { defaultTuning } from "./default_tuning.ts";
import { RowReader } from "./row_reader.ts";
import type { RunnerInputs } from "./runner_inputs.ts";
import { swapLayout } from "./swap_layout.ts";
import { SwapMemory } from "./swap_memory.ts";

/** Memory and tuning that exist already. */
export interface RunnerOptions {
  /** Allocated unless given. */
  readonly memory?: RunnerMemory;
  /** The device's own unless given; a variant of it. */
  readonly tuning?: Tuning;
  /** Made as the configuration says unless given, over that memory. */
  readonly swap?: SwapMemory;
  /** Is told of what host memory has not kept. */
  readonly warn?: (text: string) => void;
  /** Is told the share of the kernel calls that are compiled. */
  readonly onProgress?: (share: number) => void;
}

/**
 * Allocates the KV pool and activations, compiles the forward graph and builds a runner of them.
 *
 * Everything the step loop touches is made here.
 */
export async function buildRunner(
  inputs: RunnerInputs,
  options: RunnerOptions = {},
): Promise<ModelRunner> {
  const { device } = inputs;
  const { memory, tuning = defaultTuning(device, inputs.config) } = options;
  const { activations, storage } = memory ?? await allocateMemory(inputs);
  return await ModelRunner.create({
    device,
    storage,
    swap: options.swap ?? await swapMemory(inputs, storage, options.warn),
    layers: (buffers) => layerKvs(inputs.model, inputs.config, buffers),
    graph: (kv, step) =>
      forwardGraph(inputs, { activations: { ...activations, step }, kv }, tuning),
    packer: new StepPacker(stepLimits(inputs, tuning)),
    step: activations.step,
    sampled: activations.sampled,
    vocabSize: inputs.model.vocabSize,
    diagnosis: new KvDiagnosis(device),
    reader: rowReader(inputs, activations, tuning),
  }, options.onProgress);
}

/** Host memory as the configuration asks for it; undefined where it asks for none. */
async function swapMemory(
  { device, model, config }: RunnerInputs,
  storage: KvStorage,
  warn: (text: string) => void = () => {},
): Promise<SwapMemory | undefined> {
  const layout = swapLayout(model, config);
  return layout && await SwapMemory.create({ device, storage, layout, warn });
}

/** Reads the hidden states of steps once more, over the same buffers. */
function rowReader(
  { device, model, config, weights }: RunnerInputs,
  activations: RunnerMemory["activations"],
  tuning: Tuning,
): RowReader {
  const inputsOver = (step: DeviceBuffer): GraphInputs => ({
    weight: weights.weight,
    activations: { ...activations, step },
    numLayers: 0,
    kv: [],
    tuning,
  });
  const { logits, segments, sampled } = activations;
  return new RowReader({
    device,
    maxSeqs: config.maxNumSeqs,
    hiddenSize: model.hiddenSize,
    sampled,
    pooled: activations.declared.last!,
    scores: (step) => [
      ...model.readouts.logits(inputsOver(step)),
      ...samplingCalls(model.vocabSize, { step, logits, segments, sampled }, tuning),
    ],
    poolings: (step) => model.readouts.poolings(inputsOver(step)),
  });
}

/**
 * A step over the KV of a model's first layers, as a tuning shapes it: block copies, the forward
 * pass of so many layers, and the draws.
 */
export function forwardGraph(
  inputs: Pick<RunnerInputs, "model" | "weights">,
  { activations, kv }: Pick<RunnerMemory, "activations"> & { readonly kv: GraphInputs["kv"] },
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const { model, weights } = inputs;
  const { step, logits, segments, sampled } = activations;
  return [
    ...copyBlocksCalls(kv.filter((layer) => layer !== undefined), step),
    ...model.graph({
      weight: weights.weight,
      activations,
      numLayers: kv.length,
      kv,
      tuning,
    }),
    ...samplingCalls(model.vocabSize, { step, logits, segments, sampled }, tuning),
  ];
}
