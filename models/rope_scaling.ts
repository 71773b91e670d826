import { z } from "zod";
import { StartupError } from "../src/core/errors.ts";
import { parseModelJson } from "../src/core/model_json.ts";

/** How rotary frequencies are changed for contexts longer than those first trained on. */
export type RopeScaling = LinearRopeScaling | Llama3RopeScaling | YarnRopeScaling;

/** Position interpolation (Chen et al. 2023, arXiv:2306.15595): every frequency over `factor`. */
export interface LinearRopeScaling {
  readonly type: "linear";
  readonly factor: number;
}

/**
 * Llama 3.1's: long wavelengths are stretched by `factor`, short ones kept, those between mixed.
 */
export interface Llama3RopeScaling {
  readonly type: "llama3";
  readonly factor: number;
  readonly lowFreqFactor: number;
  /** Greater than `lowFreqFactor`. */
  readonly highFreqFactor: number;
  /** Context length before the stretch, tokens. */
  readonly originalMaxPositionEmbeddings: number;
}

/**
 * YaRN (Peng et al. 2023, arXiv:2309.00071): dims that turn more than `betaFast` times within the
 * original context keep their frequency, those that turn less than `betaSlow` times are stretched,
 * those between mixed by a ramp over dims. Angles are multiplied by `attentionFactor`.
 */
export interface YarnRopeScaling {
  readonly type: "yarn";
  readonly factor: number;
  /** Context length before the stretch, tokens. */
  readonly originalMaxPositionEmbeddings: number;
  readonly betaFast: number;
  readonly betaSlow: number;
  /** Whether the ramp begins and ends at whole dims. */
  readonly isTruncated: boolean;
  readonly attentionFactor: number;
}

const Factor = z.number().min(1).max(1024);
const Positions = z.int().min(1).max(16_777_216);
const Turns = z.number().gt(0).max(4096).nullish();
/** Reference implementations take 0 for absent here. */
const Mscale = z.number().min(0).max(64).nullish();

const Linear = z.object({ factor: Factor });

const Llama3 = z.object({
  factor: Factor,
  low_freq_factor: z.number().gt(0).max(1024),
  high_freq_factor: z.number().gt(0).max(1024),
  original_max_position_embeddings: Positions,
}).refine((rope) => rope.high_freq_factor > rope.low_freq_factor, {
  path: ["high_freq_factor"],
  message: "must be greater than low_freq_factor",
});

const Yarn = z.object({
  factor: Factor,
  original_max_position_embeddings: Positions.nullish(),
  attention_factor: z.number().gt(0).max(64).nullish(),
  beta_fast: Turns,
  beta_slow: Turns,
  mscale: Mscale,
  mscale_all_dim: Mscale,
  truncate: z.boolean().nullish(),
}).refine((rope) => (rope.beta_fast ?? 32) >= (rope.beta_slow ?? 1), {
  path: ["beta_fast"],
  message: "must not be less than beta_slow",
});

/** The types by name; what each reads of the settings. */
const TYPES: Readonly<
  Record<string, (rope: unknown, where: string, maxLen: number) => RopeScaling>
> = {
  linear: (rope, where) => ({ type: "linear", factor: parseModelJson(Linear, rope, where).factor }),
  llama3: parseLlama3,
  yarn: parseYarn,
};

/**
 * The scaling that rotary settings of a type ask for; none for "default" and without a type.
 *
 * @param maxLen the config.json's `max_position_embeddings`.
 * @throws {StartupError} for a type that is not known, by its name, or a number out of bounds.
 */
export function parseScaling(
  type: unknown,
  rope: unknown,
  where: string,
  maxLen: number,
): RopeScaling | undefined {
  if (type === undefined || type === null || type === "default") return undefined;
  const parse = typeof type === "string" && Object.hasOwn(TYPES, type) ? TYPES[type] : undefined;
  if (parse !== undefined) return Object.freeze(parse(rope, where, maxLen));
  throw new StartupError(
    `${where}: type is ${JSON.stringify(type)}: known are default, ${
      Object.keys(TYPES).join(", ")
    }`,
  );
}

function parseLlama3(rope: unknown, where: string): Llama3RopeScaling {
  const fields = parseModelJson(Llama3, rope, where);
  return {
    type: "llama3",
    factor: fields.factor,
    lowFreqFactor: fields.low_freq_factor,
    highFreqFactor: fields.high_freq_factor,
    originalMaxPositionEmbeddings: fields.original_max_position_embeddings,
  };
}

function parseYarn(rope: unknown, where: string, maxLen: number): YarnRopeScaling {
  const fields = parseModelJson(Yarn, rope, where);
  const { factor, mscale, mscale_all_dim: mscaleAllDim } = fields;
  const suggested = mscale && mscaleAllDim
    ? temperature(factor, mscale) / temperature(factor, mscaleAllDim)
    : temperature(factor, 1);
  return {
    type: "yarn",
    factor,
    originalMaxPositionEmbeddings: fields.original_max_position_embeddings ?? maxLen,
    betaFast: fields.beta_fast ?? 32,
    betaSlow: fields.beta_slow ?? 1,
    isTruncated: fields.truncate ?? true,
    attentionFactor: fields.attention_factor ?? suggested,
  };
}

/** Factor of queries and keys for a context `factor` times as long (YaRN, equation 22). */
function temperature(factor: number, mscale: number): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
}
