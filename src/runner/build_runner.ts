import { kvBlockWords, type KvShape } from "../../kernels/kv/kv_cache.ts";
import { copyBlocksCall } from "../../kernels/kv/copy_blocks.ts";
import { samplingCalls } from "../../kernels/sampling/sampling.ts";
import type { StepDims } from "../../kernels/step.ts";
import type { Tuning } from "../../kernels/tuning/tuning.ts";
import { layerDtypes } from "../core/kv_layout.ts";
import type { DeviceBuffer, KernelCall } from "../device/kernel.ts";
import { kvGeometry } from "./kv_geometry.ts";
import { KvDiagnosis } from "./kv_diagnosis.ts";
import { ModelRunner } from "./model_runner.ts";
import { allocateMemory, type RunnerMemory, stepLimits } from "./runner_memory.ts";
import { StepPacker } from "./step_packer.ts";
import { defaultTuning } from "./default_tuning.ts";
import type { RunnerInputs } from "./runner_inputs.ts";

/** Memory and tuning that exist already. */
export interface RunnerOptions {
  /** Allocated unless given. */
  readonly memory?: RunnerMemory;
  /** The device's own unless given; a variant of it. */
  readonly tuning?: Tuning;
}

/**
 * Allocates the KV pool and activations, compiles the forward graph and builds a runner of them.
 *
 * Everything the step loop touches is made here.
 */
export async function buildRunner(
  inputs: RunnerInputs,
  { memory, tuning = defaultTuning(inputs.device, inputs.engine) }: RunnerOptions = {},
): Promise<ModelRunner> {
  const { activations, storage } = memory ?? await allocateMemory(inputs);
  return await ModelRunner.create({
    device: inputs.device,
    storage,
    graph: (kv, step) =>
      forwardGraph(inputs, { activations: { ...activations, step }, kv }, tuning),
    packer: new StepPacker(stepLimits(inputs, tuning)),
    step: activations.step,
    sampled: activations.sampled,
    vocabSize: inputs.model.vocabSize,
    diagnosis: new KvDiagnosis(inputs.device, kvShapes(inputs)),
  });
}

/** How each layer's KV is stored. */
function kvShapes({ engine, model }: Pick<RunnerInputs, "engine" | "model">): KvShape[] {
  const geometry = kvGeometry(model, engine);
  const { numKvHeads: G, headDim: D } = geometry;
  return layerDtypes(geometry)
    .map((KV_DTYPE) => ({ G, D, BLOCK_SIZE: engine.blockSize, KV_DTYPE }));
}

/**
 * A step over a set of KV buffers, as a tuning shapes it: block copies, the forward pass of the
 * model's first layers, as many as there are buffers, and the draws.
 */
export function forwardGraph(
  inputs: Pick<RunnerInputs, "engine" | "model" | "weights">,
  { activations, kv }: Pick<RunnerMemory, "activations"> & { readonly kv: readonly DeviceBuffer[] },
  tuning: Tuning,
): KernelCall<StepDims>[] {
  const { engine, model, weights } = inputs;
  const { step, logits, segments, sampled } = activations;
  const shapes = kvShapes(inputs).slice(0, kv.length);
  return [
    ...shapes.map((shape, layer) =>
      copyBlocksCall({ WORDS: kvBlockWords(shape) }, { step, kv: kv[layer]! })
    ),
    ...model.graph({
      weight: weights.weight,
      activations,
      numLayers: kv.length,
      kv,
      blockSize: engine.blockSize,
      kvDtypes: shapes.map(({ KV_DTYPE }) => KV_DTYPE),
      tuning,
    }),
    ...samplingCalls(model.vocabSize, { step, logits, segments, sampled }, tuning),
  ];
}
