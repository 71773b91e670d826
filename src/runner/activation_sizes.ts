import { halvedRowsBytes } from "../../kernels/matrix_gemm.ts";
import { quantizedRowsBytes } from "../../kernels/packed_product.ts";
import { partsWords } from "../../kernels/sampling.ts";
import { SAMPLED_WORDS } from "../../kernels/step.ts";
import type { Tuning } from "../../kernels/tuning.ts";
import type { ModelConfig } from "../../models/model_config.ts";
import type { Activations } from "../../models/model_family.ts";
import { StartupError } from "../core/errors.ts";
import type { StepLimits } from "./step_packer.ts";

type Sizes<Name extends keyof Activations> = Readonly<Record<Name, number>>;

/** Words (4 bytes each) of the buffers that a step's activations pass through, by what they grow with. */
export interface ActivationSizes {
  readonly perToken: Sizes<
    "hidden" | "normed" | "codes" | "scales" | "qkv" | "attended" | "inner"
  >;
  readonly perSequence: Sizes<"parts" | "peaks" | "last" | "logits" | "segments" | "sampled">;
}

/** The sizes for a model whose contexts have at most `maxSplits` splits. */
export function activationSizes(
  model: ModelConfig,
  { maxSplits, tuning }: { readonly maxSplits: number; readonly tuning: Tuning },
): ActivationSizes {
  const { hiddenSize, numHeads, numKvHeads, headDim, intermediateSize, vocabSize } = model;
  const widest = Math.max(hiddenSize, numHeads * headDim, intermediateSize);
  const quantized = quantizedRowsBytes(tuning.packedDot ? 1 : 0, widest);
  const halves = tuning.matrixTiles.some(({ unit }) => unit.type === "f16");
  const halved = halvedRowsBytes(halves ? 1 : 0, widest);
  return {
    perToken: {
      hidden: hiddenSize,
      normed: hiddenSize,
      codes: Math.max(quantized.codes, halved.codes) / 4,
      scales: Math.max(quantized.scales, halved.scales) / 4,
      qkv: (numHeads + 2 * numKvHeads) * headDim,
      attended: numHeads * headDim,
      inner: intermediateSize,
    },
    perSequence: {
      parts: numHeads * maxSplits * headDim,
      peaks: numHeads * maxSplits * 2,
      last: hiddenSize,
      logits: vocabSize,
      segments: partsWords(vocabSize, tuning),
      sampled: SAMPLED_WORDS,
    },
  };
}

/** Most rows and sequences of a step. */
type StepSize = Pick<StepLimits, "maxTokens" | "maxSeqs">;

/** A step whose activations can be bound, and how it differs from what was asked for. */
export interface BoundStep extends StepSize {
  /** For people, one per limit that was lowered. */
  readonly notices: readonly string[];
}

/** What shrinks the largest buffer of a sequence when its own number cannot: words for a refusal. */
const REMEDY: Readonly<Partial<Record<string, string>>> = {
  parts: "; lower --max-model-len",
  peaks: "; lower --max-model-len",
};

/**
 * Lowers the limits of a step to what a device can bind: each activation is one buffer, made for the
 * largest step. A limit is the most that a step may have, so that lower ones change no answer.
 *
 * @throws {StartupError} when one token or one sequence is too much, with the numbers.
 */
export function boundStep(
  asked: StepSize,
  { perToken, perSequence }: ActivationSizes,
  maxBindingBytes: number,
): BoundStep {
  const tokens = bound("tokens", asked.maxTokens, perToken, maxBindingBytes);
  const sequences = bound("sequences", asked.maxSeqs, perSequence, maxBindingBytes);
  return {
    maxTokens: tokens.count,
    // Each sequence needs one token per step.
    maxSeqs: Math.min(sequences.count, tokens.count),
    notices: [...sequences.notices, ...tokens.notices],
  };
}

function bound(
  unit: "tokens" | "sequences",
  asked: number,
  sizes: Readonly<Record<string, number>>,
  maxBindingBytes: number,
): { count: number; notices: string[] } {
  const [name, words] = Object.entries(sizes).reduce((a, b) => b[1] > a[1] ? b : a);
  const room = Math.floor(maxBindingBytes / 16) * 4;
  const most = Math.floor(room / words);
  if (asked <= most) return { count: asked, notices: [] };
  const limit = `and this device binds at most ${maxBindingBytes}`;
  if (most < 1) {
    throw new StartupError(
      `The activations of one of the ${unit} of a step do not fit: "${name}" needs ${4 * words} ` +
        `bytes, ${limit}${REMEDY[name] ?? ""}`,
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
