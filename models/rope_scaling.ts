import { z } from "zod";
import { StartupError } from "../src/core/errors.ts";
import { parseModelJson } from "../src/core/model_json.ts";

/** How rotary frequencies are changed for contexts longer than those first trained on. */
export type RopeScaling =
  | LinearRopeScaling
  | Llama3RopeScaling
  | YarnRopeScaling
  | LongRopeScaling
  | DynamicRopeScaling;

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

/**
 * LongRoPE (Ding et al. 2024, 2402.13753): each pair's frequency is divided by its own factor, from
 * one list in sequences within the original context, and from another in longer ones, in all of
 * their positions.
 */
export interface LongRopeScaling {
  readonly type: "longrope";
  /** Of each pair of elements that is rotated, first to last. */
  readonly shortFactors: readonly number[];
  readonly longFactors: readonly number[];
  /** Multiplies cosines and sines. */
  readonly attentionFactor: number;
  /** Longest context with the first factors, tokens; absent where the two lists are one. */
  readonly originalMaxPositionEmbeddings?: number;
}

/**
 * Dynamic NTK (emozilla 2023; Peng et al. 2023, 2309.00071, section 3.3): frequencies as they are
 * within the original context, and beyond it a base that grows with every token. Reference
 * implementations keep the keys of earlier steps as earlier bases turned them, so that an answer
 * depends on how its prompt was cut into steps. Here contexts end with the original one.
 */
export interface DynamicRopeScaling {
  readonly type: "dynamic";
  /** Longest context with the frequencies as they are, tokens. */
  readonly originalMaxPositionEmbeddings: number;
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

const Unknown = z.null("is not supported").optional();

const Dynamic = z.object({
  factor: Factor,
  original_max_position_embeddings: Positions.nullish(),
  /** Of Hunyuan, a base that depends on no length. */
  alpha: Unknown,
});

const Factors = z.array(z.number().gt(0).max(65_536)).max(256);
const LongRope = z.object({
  short_factor: Factors,
  long_factor: Factors,
  factor: Factor.nullish(),
  original_max_position_embeddings: Positions.nullish(),
  attention_factor: z.number().gt(0).max(64).nullish(),
  short_mscale: Unknown,
  long_mscale: Unknown,
});

/** What a config.json says beside its rotary settings. */
export interface RopeContext {
  /** `max_position_embeddings`. */
  readonly maxLen: number;
  /** `original_max_position_embeddings`, where it lies beside them. */
  readonly originalMaxLen?: number | undefined;
  /** Elements of a head that are rotated. */
  readonly rotaryDim: number;
}

/** The types by name; what each reads of the settings. */
const TYPES: Readonly<
  Record<string, (rope: unknown, where: string, context: RopeContext) => RopeScaling>
> = {
  linear: (rope, where) => ({ type: "linear", factor: parseModelJson(Linear, rope, where).factor }),
  llama3: parseLlama3,
  yarn: parseYarn,
  longrope: parseLongRope,
  // Its name in the first checkpoints.
  su: parseLongRope,
  dynamic: parseDynamic,
};

/**
 * The scaling that rotary settings of a type ask for; none for "default" and without a type.
 *
 * @throws {StartupError} for a type that is not known, by its name, or a number out of bounds.
 */
export function parseScaling(
  type: unknown,
  rope: unknown,
  where: string,
  context: RopeContext,
): RopeScaling | undefined {
  if (type === undefined || type === null || type === "default") return undefined;
  const parse = typeof type === "string" && Object.hasOwn(TYPES, type) ? TYPES[type] : undefined;
  if (parse !== undefined) return Object.freeze(parse(rope, where, context));
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

function parseYarn(rope: unknown, where: string, { maxLen }: RopeContext): YarnRopeScaling {
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

function parseLongRope(rope: unknown, where: string, context: RopeContext): LongRopeScaling {
  const fields = parseModelJson(LongRope, rope, where);
  const { short_factor: short, long_factor: long } = fields;
  const pairs = context.rotaryDim / 2;
  for (const [name, factors] of Object.entries({ short_factor: short, long_factor: long })) {
    if (factors.length === pairs) continue;
    throw new StartupError(
      `${where}: field "${name}" has ${factors.length} entries: must have one for each pair of ` +
        `elements that are rotated, ${pairs}`,
    );
  }
  const { maxLen } = context;
  const original = fields.original_max_position_embeddings ?? context.originalMaxLen ?? maxLen;
  const factor = fields.factor ?? maxLen / original;
  const suggested = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
  const isOneList = short.every((each, i) => each === long[i]);
  return {
    type: "longrope",
    shortFactors: short,
    longFactors: long,
    attentionFactor: fields.attention_factor ?? suggested,
    ...(isOneList || original >= maxLen ? {} : { originalMaxPositionEmbeddings: original }),
  };
}

function parseDynamic(rope: unknown, where: string, { maxLen }: RopeContext): DynamicRopeScaling {
  const { original_max_position_embeddings: original } = parseModelJson(Dynamic, rope, where);
  return { type: "dynamic", originalMaxPositionEmbeddings: Math.min(original ?? maxLen, maxLen) };
}
