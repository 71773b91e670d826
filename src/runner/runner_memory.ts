import { attentionQueryTile } from "../../kernels/attention/paged_attention.ts";
import type { Tuning } from "../../kernels/tuning/tuning.ts";
import type { Activations } from "../../models/model_family.ts";
import { ropeTable } from "../../models/rope_table.ts";
import { invariant } from "../base/invariant.ts";
import { bytesPerTokenByLayer, kvFormat, numBlocksForTokens } from "../core/kv_layout.ts";
import type { EngineConfig } from "../core/engine_config.ts";
import { activationSizes, boundStep, maxSplits } from "./activation_sizes.ts";
import type { RunnerInputs } from "./runner_inputs.ts";
import { KvStorage } from "./kv_storage.ts";
import { maxStepWords } from "./step_packer.ts";
import type { StepLimits } from "./step_limits.ts";
import { defaultTuning } from "./default_tuning.ts";

/** Everything on the device that a step touches beside the weights. */
export interface RunnerMemory {
  readonly activations: Activations;
  readonly storage: KvStorage;
}

/**
 * Allocates the KV pool and the activations, large enough for the device's default tuning and for
 * all of its variants, which take no more.
 *
 * @throws {RangeError} when the device has no room.
 */
export async function allocateMemory(inputs: RunnerInputs): Promise<RunnerMemory> {
  const { device, engine, model, budget } = inputs;
  const activations = await createActivations(inputs, defaultTuning(device, engine));
  const storage = await KvStorage.create(device, {
    numBlocks: budget.numBlocks,
    layerBlockBytes: bytesPerTokenByLayer({ ...model, ...kvFormat(engine) })
      .map((bytes) => bytes * engine.blockSize),
  });
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
    queryTile: attentionQueryTile({ H: model.numHeads, G: model.numKvHeads }, tuning),
  };
}

async function createActivations(inputs: RunnerInputs, tuning: Tuning): Promise<Activations> {
  const { device, model, budget } = inputs;
  const limits = stepLimits(inputs, tuning);
  const { perToken, perSequence, perSplit } = activationSizes(model, tuning);
  const words = (label: string, count: number) => device.createBuffer(label, 4 * count);
  const ofTokens = (name: keyof typeof perToken) => words(name, limits.maxTokens * perToken[name]);
  const ofSequences = (name: keyof typeof perSequence) =>
    words(name, limits.maxSeqs * perSequence[name]);
  const ofSplits = (name: keyof typeof perSplit) => words(name, limits.maxSplits * perSplit[name]);
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
    codes: await ofTokens("codes"),
    scales: await ofTokens("scales"),
    qkv: await ofTokens("qkv"),
    attended: await ofTokens("attended"),
    inner: await ofTokens("inner"),
    partials: await ofSplits("partials"),
    stats: await ofSplits("stats"),
    last: await ofSequences("last"),
    logits: await ofSequences("logits"),
    segments: await ofSequences("segments"),
    sampled: await ofSequences("sampled"),
  };
}
