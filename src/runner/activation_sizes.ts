import { castRowsBytes } from "../../kernels/matmul/gemm_subgroup_matrix.ts";
import { quantizedRowsBytes } from "../../kernels/matmul/w8a8_product.ts";
import { segmentsWords } from "../../kernels/sampling/sampling.ts";
import { SAMPLED_WORDS } from "../../kernels/step.ts";
import { MAX_GRID, type Tuning } from "../../kernels/tuning/tuning.ts";
import type { AttentionHeads, BufferSpec, BufferSpecs, Model } from "../../models/model.ts";
import { ceilDiv } from "../base/math.ts";
import { MAX_DECODE_STEPS } from "../core/batch.ts";
import { StartupError } from "../core/errors.ts";
import type { StepLimits } from "./step_limits.ts";
import { isVector } from "./weight_buffers.ts";

/** Words (4 bytes each) of buffers by name. */
type Sizes = Readonly<Record<string, number>>;

/** Words of the buffers that a step's activations pass through, by what they grow with. */
export interface ActivationSizes {
  readonly perToken: Sizes & Readonly<Record<"codes" | "scales", number>>;
  readonly perSequence: Sizes & Readonly<Record<"logits" | "segments" | "sampled", number>>;
  /** Per split of a decode's context. */
  readonly perSplit: Readonly<Record<"partials" | "stats", number>>;
}

/** The sizes for a model: of the buffers that it declares, and of the runner's own. */
export function activationSizes(
  { vocabSize, buffers, weights, attention }: Pick<
    Model,
    "vocabSize" | "buffers" | "weights" | "attention"
  >,
  tuning: Tuning,
): ActivationSizes {
  const widest = Math.max(
    ...weights.filter((spec) => !isVector(spec)).map(({ shapes }) => shapes[0]!.at(-1)!),
  );
  const quantized = quantizedRowsBytes(tuning.usesW8a8 ? 1 : 0, widest);
  const usesF16Units = tuning.matrixTiles.some(({ unit }) => unit.type === "f16");
  const cast = castRowsBytes(usesF16Units ? 1 : 0, widest);
  const largest = (words: (heads: AttentionHeads) => number) =>
    Math.max(...attention.map((heads) => heads === undefined ? 0 : words(heads)));
  return {
    perToken: {
      ...declared(buffers, "token"),
      codes: Math.max(quantized.codes, cast.codes) / 4,
      scales: Math.max(quantized.scales, cast.scales) / 4,
    },
    perSequence: {
      ...declared(buffers, "draw"),
      logits: vocabSize,
      segments: segmentsWords(vocabSize, tuning),
      sampled: SAMPLED_WORDS * MAX_DECODE_STEPS,
    },
    perSplit: {
      partials: largest(({ numHeads, headDim }) => numHeads * headDim),
      stats: largest(({ numHeads }) => numHeads * 2),
    },
  };
}

function declared(buffers: BufferSpecs, per: BufferSpec["per"]): Sizes {
  const entries = Object.entries(buffers).filter(([, spec]) => spec.per === per);
  return Object.fromEntries(entries.map(([name, { words }]) => [name, words]));
}

/** Most rows and sequences of a step. */
type StepSize = Pick<StepLimits, "maxTokens" | "maxSeqs">;

/** A step whose activations can be bound, and how it differs from what was asked for. */
export interface BoundStep extends StepSize {
  /** For people, one per limit that was lowered. */
  readonly notices: readonly string[];
}

/**
 * Lowers the limits of a step to what a device can bind, each activation being one buffer made for
 * the largest step, and to {@link MAX_GRID} tokens, since kernels have a workgroup for each. A
 * limit is the most that a step may have, so that lower ones change no answer.
 *
 * @throws {StartupError} when one token or one sequence is too much, with the numbers.
 */
export function boundStep(
  asked: StepSize,
  { perToken, perSequence }: Pick<ActivationSizes, "perToken" | "perSequence">,
  maxBindingBytes: number,
): BoundStep {
  const grid = Math.min(asked.maxTokens, MAX_GRID);
  const tokens = bound("tokens", grid, perToken, maxBindingBytes);
  const sequences = bound("sequences", asked.maxSeqs, perSequence, maxBindingBytes);
  return {
    maxTokens: tokens.count,
    // Each sequence needs one token per step.
    maxSeqs: Math.min(sequences.count, tokens.count),
    notices: [
      ...sequences.notices,
      ...grid < asked.maxTokens
        ? [
          `at most ${grid} tokens per step, not ${asked.maxTokens}: a device runs no more workgroups`,
        ]
        : [],
      ...tokens.notices,
    ],
  };
}

function bound(
  unit: "tokens" | "sequences",
  asked: number,
  sizes: Sizes,
  maxBindingBytes: number,
): { count: number; notices: string[] } {
  const [name, words] = Object.entries(sizes).reduce((a, b) => b[1] > a[1] ? b : a);
  const most = numBindable(words, maxBindingBytes);
  if (asked <= most) return { count: asked, notices: [] };
  const limit = `and this device binds at most ${maxBindingBytes}`;
  if (most < 1) {
    throw new StartupError(
      `The activations of one of the ${unit} of a step do not fit: "${name}" needs ${4 * words} ` +
        `bytes, ${limit}`,
    );
  }
  return {
    count: most,
    notices: [
      `at most ${most} ${unit} per step, not ${asked}: "${name}" takes ${4 * words} bytes for ` +
      `each, ${limit}`,
    ],
  };
}

/**
 * Most bytes of `partials`, unless one sequence needs more; a step with more splits runs in
 * sub-batches (`sub_batches.ts`), each of which reads the weights again. With splits of 64 and f16,
 * this many partials belong to 8 GiB of K and V per layer over the query heads of a KV head. In
 * Llama-3.1-8B that is 64 GiB of KV per sub-batch, next to 15 GiB of weights.
 */
const MAX_PARTIALS_BYTES = 2 ** 27;

/**
 * Splits of decodes' contexts that a step has room for: those of `maxSeqs` sequences of
 * `maxModelLen` tokens, or of as many as memory is set aside for, but always those of one.
 *
 * @throws {StartupError} when the device cannot bind the results of one sequence, with the numbers.
 */
export function maxSplits(
  { maxSeqs, maxModelLen, splitLen }: Readonly<
    Record<"maxSeqs" | "maxModelLen" | "splitLen", number>
  >,
  { perSplit }: Pick<ActivationSizes, "perSplit">,
  maxBindingBytes: number,
): number {
  const { partials } = perSplit;
  const ofOne = ceilDiv(maxModelLen, splitLen);
  // A split may be a workgroup.
  const bindable = Math.min(numBindable(partials, maxBindingBytes), MAX_GRID);
  if (ofOne > bindable) {
    const [needed, most] = [ofOne, bindable].map((count) => 4 * partials * count);
    throw new StartupError(
      `Attention of one sequence of ${maxModelLen} tokens does not fit: "partials" needs ${needed} ` +
        `bytes, and this device binds at most ${most} of it; lower --max-model-len`,
    );
  }
  const set = Math.max(ofOne, numBindable(partials, MAX_PARTIALS_BYTES));
  return Math.min(maxSeqs * ofOne, set, bindable);
}

/** Items of so many words each that one buffer of whole 16 bytes can hold. */
function numBindable(words: number, maxBindingBytes: number): number {
  return Math.floor(Math.floor(maxBindingBytes / 16) * 4 / words);
}
