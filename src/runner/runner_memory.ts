import { quantizedRowsBytes } from "../../kernels/packed_product.ts";
import { attentionQueryTile } from "../../kernels/paged_attention.ts";
import { partsWords } from "../../kernels/sampling.ts";
import { SAMPLED_WORDS } from "../../kernels/step.ts";
import type { Tuning } from "../../kernels/tuning.ts";
import type { Activations } from "../../models/model_family.ts";
import { ropeTable } from "../../models/rope_table.ts";
import { invariant } from "../base/invariant.ts";
import { ceilDiv } from "../base/math.ts";
import { bytesPerTokenByLayer, kvFormat, numBlocksForTokens } from "../core/kv_layout.ts";
import type { RunnerInputs } from "./build_runner.ts";
import { KvStorage } from "./kv_storage.ts";
import { maxStepWords, type StepLimits } from "./step_packer.ts";
import { ownTuning } from "./own_tuning.ts";

/** Everything on the device that a step touches beside the weights. */
export interface RunnerMemory {
  readonly activations: Activations;
  readonly storage: KvStorage;
}

/**
 * Allocates the KV pool and the activations, large enough for the device's own tuning and for all of
 * its variants, which take no more.
 *
 * @throws {RangeError} when the device has no room.
 */
export async function allocateMemory(inputs: RunnerInputs): Promise<RunnerMemory> {
  const { device, engine, model, budget } = inputs;
  const activations = await createActivations(inputs, ownTuning(device, engine));
  const storage = await KvStorage.create(device, {
    numBlocks: budget.numBlocks,
    layerBlockBytes: bytesPerTokenByLayer({ ...model, ...kvFormat(engine) })
      .map((bytes) => bytes * engine.blockSize),
  });
  return { activations, storage };
}

/** The largest step that runs under a tuning. */
export function stepLimits(
  { engine, budget, model }: Pick<RunnerInputs, "engine" | "budget" | "model">,
  tuning: Tuning,
): StepLimits {
  invariant(
    engine.blockSize % tuning.positionTile === 0,
    `block size ${engine.blockSize} is no multiple of ${tuning.positionTile}`,
  );
  return {
    maxTokens: engine.maxNumBatchedTokens,
    maxSeqs: engine.maxNumSeqs,
    maxBlocksPerSeq: numBlocksForTokens(budget.maxModelLen, engine.blockSize),
    blockSize: engine.blockSize,
    queryTile: attentionQueryTile({ H: model.numHeads, G: model.numKvHeads }, tuning),
  };
}

/** Most splits of one sequence's context in decode attention. */
export function maxSplits({ budget }: Pick<RunnerInputs, "budget">, tuning: Tuning): number {
  return ceilDiv(budget.maxModelLen, tuning.splitLen);
}

async function createActivations(inputs: RunnerInputs, tuning: Tuning): Promise<Activations> {
  const { device, model, budget } = inputs;
  const { hiddenSize, numHeads, numKvHeads, headDim, intermediateSize, vocabSize } = model;
  const limits = stepLimits(inputs, tuning);
  const { maxTokens, maxSeqs } = limits;
  const numSplits = maxSeqs * numHeads * maxSplits(inputs, tuning);
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
    parts: await floats("parts", numSplits * headDim),
    peaks: await floats("peaks", numSplits * 2),
    last: await floats("last", maxSeqs * hiddenSize),
    logits: await floats("logits", maxSeqs * vocabSize),
    segments: await floats("segments", maxSeqs * partsWords(vocabSize, tuning)),
    sampled: await floats("sampled", maxSeqs * SAMPLED_WORDS),
  };
}
