import { attentionQueryTile } from "../../kernels/paged_attention.ts";
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
import { type ActivationSizes, activationSizes, boundStep } from "./activation_sizes.ts";
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
  /** Is told where a step must be smaller than `engine` asks for. */
  readonly onNotice?: (notice: string) => void;
}

/**
 * Allocates the KV pool and activations, compiles the forward graph and ties them to a runner.
 *
 * Everything the step loop touches is made here. `runner.limits` says how large a step may be: what
 * `engine` asks for, or less where the device cannot bind the activations of more.
 *
 * @throws {StartupError} when it cannot even bind those of one token or one sequence.
 * @throws {RangeError} when the device has no room.
 */
export async function buildRunner(inputs: RunnerInputs): Promise<ModelRunner> {
  const { device, engine, model, family, weights, budget } = inputs;
  const tuning = tuningFor(device.capabilities);
  const maxSplits = ceilDiv(budget.maxModelLen, tuning.splitLen);
  const sizes = activationSizes(model, { maxSplits, tuning });
  const limits = stepLimits(inputs, sizes, tuning);
  const activations = await createActivations(inputs, sizes, limits);
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
  { device, engine, budget, model, onNotice = () => {} }: RunnerInputs,
  sizes: ActivationSizes,
  tuning: Tuning,
): StepLimits {
  const queryTile = attentionQueryTile({ H: model.numHeads, G: model.numKvHeads }, tuning);
  invariant(
    engine.blockSize % tuning.positionTile === 0,
    `block size ${engine.blockSize} is no multiple of ${tuning.positionTile}`,
  );
  const asked = { maxTokens: engine.maxNumBatchedTokens, maxSeqs: engine.maxNumSeqs };
  const { notices, ...bound } = boundStep(asked, sizes, device.maxBindingBytes);
  notices.forEach(onNotice);
  return {
    ...bound,
    maxBlocksPerSeq: numBlocksForTokens(budget.maxModelLen, engine.blockSize),
    blockSize: engine.blockSize,
    queryTile,
  };
}

async function createActivations(
  { device, model, budget }: RunnerInputs,
  { perToken, perSequence }: ActivationSizes,
  limits: StepLimits,
): Promise<Activations> {
  const words = (label: string, count: number) => device.createBuffer(label, 4 * count);
  const ofTokens = (name: keyof typeof perToken) => words(name, limits.maxTokens * perToken[name]);
  const ofSequences = (name: keyof typeof perSequence) =>
    words(name, limits.maxSeqs * perSequence[name]);
  const rope = ropeTable({
    headDim: model.headDim,
    theta: model.ropeTheta,
    scaling: model.ropeScaling,
    maxPositions: budget.maxModelLen,
  });
  const ropeBuffer = await words("rope", rope.length);
  device.write(ropeBuffer, 0, new Uint8Array(rope.buffer));
  return {
    step: await words("step", maxStepWords(limits)),
    rope: ropeBuffer,
    hidden: await ofTokens("hidden"),
    normed: await ofTokens("normed"),
    qkv: await ofTokens("qkv"),
    attended: await ofTokens("attended"),
    inner: await ofTokens("inner"),
    parts: await ofSequences("parts"),
    peaks: await ofSequences("peaks"),
    last: await ofSequences("last"),
    logits: await ofSequences("logits"),
    segments: await ofSequences("segments"),
    sampled: await ofSequences("sampled"),
  };
}
