import { attentionQueryTile } from "../../kernels/paged_attention.ts";
import { quantizedRowsBytes } from "../../kernels/packed_product.ts";
import { partsWords } from "../../kernels/sampling.ts";
import { SAMPLED_WORDS } from "../../kernels/step.ts";
import { type Tuning, tuningFor } from "../../kernels/tuning.ts";
import type { ModelConfig } from "../../models/model_config.ts";
import type { Activations, ModelFamily } from "../../models/model_family.ts";
import { ropeTable } from "../../models/rope_table.ts";
import { invariant } from "../base/invariant.ts";
import { ceilDiv } from "../base/math.ts";
import type { EngineConfig } from "../core/engine_config.ts";
import {
  bytesPerTokenByLayer,
  kvFormat,
  layerDtypes,
  numBlocksForTokens,
} from "../core/kv_layout.ts";
import type { Device } from "../device/device.ts";
import type { DeviceBuffer } from "../device/kernel.ts";
import { KvStorage } from "./kv_storage.ts";
import type { KvBudget } from "./memory_budget.ts";
import { ModelRunner } from "./model_runner.ts";
import { maxStepWords, type StepLimits, StepPacker } from "./step_packer.ts";
import type { UploadedWeights } from "./upload_weights.ts";

/** What `buildRunner` puts together. */
export interface RunnerInputs {
  readonly device: Device;
  readonly engine: EngineConfig;
  readonly model: ModelConfig;
  readonly family: ModelFamily;
  readonly weights: UploadedWeights;
  readonly budget: KvBudget;
}

/**
 * Allocates the KV pool and activations, compiles the forward graph and ties them to a runner.
 *
 * Everything the step loop touches is made here.
 */
export async function buildRunner(inputs: RunnerInputs): Promise<ModelRunner> {
  const { device, engine, model, family, weights, budget } = inputs;
  const { int8Activations = "auto" } = engine;
  const tuning = tuningFor(device.capabilities, { int8Activations });
  const limits = stepLimits(inputs, tuning);
  const maxSplits = ceilDiv(budget.maxModelLen, tuning.splitLen);
  const activations = await createActivations(inputs, limits, { maxSplits, tuning });
  const geometry = { ...model, ...kvFormat(engine) };
  const storage = await KvStorage.create(device, {
    numBlocks: budget.numBlocks,
    layerBlockBytes: bytesPerTokenByLayer(geometry).map((bytes) => bytes * engine.blockSize),
  });
  const graph = (kv: readonly DeviceBuffer[], step: DeviceBuffer) =>
    family.graph({
      config: model,
      weight: weights.weight,
      activations: { ...activations, step },
      kv,
      blockSize: engine.blockSize,
      kvDtypes: layerDtypes(geometry),
      maxSplits,
      tuning,
    });
  return await ModelRunner.create({
    device,
    storage,
    graph,
    packer: new StepPacker(limits),
    step: activations.step,
    sampled: activations.sampled,
    vocabSize: model.vocabSize,
  });
}

function stepLimits(
  { engine, budget, model }: RunnerInputs,
  tuning: Tuning,
): StepLimits {
  const queryTile = attentionQueryTile({ H: model.numHeads, G: model.numKvHeads }, tuning);
  invariant(
    engine.blockSize % tuning.positionTile === 0,
    `block size ${engine.blockSize} is no multiple of ${tuning.positionTile}`,
  );
  return {
    maxTokens: engine.maxNumBatchedTokens,
    maxSeqs: engine.maxNumSeqs,
    maxBlocksPerSeq: numBlocksForTokens(budget.maxModelLen, engine.blockSize),
    blockSize: engine.blockSize,
    queryTile,
  };
}

async function createActivations(
  { device, model, budget }: RunnerInputs,
  limits: StepLimits,
  { maxSplits, tuning }: { readonly maxSplits: number; readonly tuning: Tuning },
): Promise<Activations> {
  const { hiddenSize, numHeads, numKvHeads, headDim, intermediateSize, vocabSize } = model;
  const { maxTokens, maxSeqs } = limits;
  const floats = (label: string, count: number) => device.createBuffer(label, 4 * count);
  const widest = Math.max(hiddenSize, numHeads * headDim, intermediateSize);
  const quantized = quantizedRowsBytes(tuning.packedDot ? maxTokens : 0, widest);
  const rope = ropeTable({
    headDim,
    theta: model.ropeTheta,
    scaling: model.ropeScaling,
    maxPositions: budget.maxModelLen,
  });
  const ropeBuffer = await floats("rope", rope.length);
  device.write(ropeBuffer, 0, new Uint8Array(rope.buffer));
  return {
    step: await floats("step", maxStepWords(limits)),
    rope: ropeBuffer,
    hidden: await floats("hidden", maxTokens * hiddenSize),
    normed: await floats("normed", maxTokens * hiddenSize),
    codes: await device.createBuffer("codes", quantized.codes),
    scales: await device.createBuffer("scales", quantized.scales),
    qkv: await floats("qkv", maxTokens * (numHeads + 2 * numKvHeads) * headDim),
    attended: await floats("attended", maxTokens * numHeads * headDim),
    inner: await floats("inner", maxTokens * intermediateSize),
    parts: await floats("parts", maxSeqs * numHeads * maxSplits * headDim),
    peaks: await floats("peaks", maxSeqs * numHeads * maxSplits * 2),
    last: await floats("last", maxSeqs * hiddenSize),
    logits: await floats("logits", maxSeqs * vocabSize),
    segments: await floats("segments", maxSeqs * partsWords(vocabSize, tuning)),
    sampled: await floats("sampled", maxSeqs * SAMPLED_WORDS),
  };
}
