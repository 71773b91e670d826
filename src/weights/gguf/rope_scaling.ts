import { omitUndefined } from "../../base/omit_undefined.ts";
import { StartupError } from "../../core/errors.ts";
import type { GgufFile } from "./gguf_file.ts";
import type { Fields } from "./json_fields.ts";
import { shortNumber } from "./short_number.ts";

/** Llama 3.1's own bounds; its converters store the factors that come of them, and not these. */
const LLAMA3 = { low_freq_factor: 1, high_freq_factor: 4 };
/** The context that Llama 3 was first trained on. */
const LLAMA3_CONTEXT = 8192;
/** The file's factors are f32, of a formula in f32 or f64. */
const TOLERANCE = 1e-4;

/**
 * The `rope_scaling` of a config.json, from the metadata and from tensors of factors; undefined
 * where frequencies are used as they are.
 *
 * @throws {StartupError} for a kind of scaling that is not known.
 */
export function ropeScaling(gguf: GgufFile, architecture: string): Fields | undefined {
  const { metadata } = gguf;
  const key = (name: string) => `${architecture}.rope.scaling.${name}`;
  const long = gguf.readVector("rope_factors_long.weight");
  const short = gguf.readVector("rope_factors_short.weight");
  const original = metadata.count(key("original_context_length"));
  if (long !== undefined && short !== undefined) {
    return longrope(long, short, {
      ...omitUndefined({ original_max_position_embeddings: original }),
      ...attentionFactor(metadata.number(key("attn_factor"))),
    });
  }
  const factors = gguf.readVector("rope_freqs.weight");
  if (factors !== undefined) return frequencyFactors(gguf, architecture, factors);
  const factor = metadata.number(key("factor")) ??
    metadata.number(`${architecture}.rope.scale_linear`);
  const type = metadata.text(key("type")) ?? (factor === undefined ? "none" : "linear");
  switch (type) {
    case "none":
      return undefined;
    case "linear":
      // Old converters write a factor of 0 or 1 for none.
      return factor === undefined || factor === 0 || factor === 1
        ? undefined
        : { rope_type: "linear", factor: shortNumber(factor) };
    case "yarn":
      return yarn(gguf, key, factor, original);
    default:
      throw new StartupError(
        `${metadata.file}: ${key("type")} is ${JSON.stringify(type)}: known are none, linear, ` +
          `yarn, and longrope with its tensors of factors`,
      );
  }
}

/** YaRN (Peng et al. 2023, 2309.00071). */
function yarn(
  { metadata }: GgufFile,
  key: (name: string) => string,
  factor: number | undefined,
  original: number | undefined,
): Fields {
  if (factor === undefined) {
    throw new StartupError(`${metadata.file}: metadata lacks ${key("factor")}`);
  }
  const [fast, slow] = ["fast", "slow"].map((name) => metadata.number(key(`yarn_beta_${name}`)));
  return {
    rope_type: "yarn",
    factor: shortNumber(factor),
    ...omitUndefined({
      original_max_position_embeddings: original,
      beta_fast: fast && shortNumber(fast),
      beta_slow: slow && shortNumber(slow),
    }),
    // Converters write config.json's own factor here.
    ...attentionFactor(metadata.number(key("attn_factor"))),
  };
}

/**
 * Factors that frequencies are divided by: Llama 3.1's, where its formula gives them, or else those
 * of LongRoPE for any length, which divides by a list.
 */
function frequencyFactors(
  { metadata }: GgufFile,
  architecture: string,
  factors: Float32Array,
): Fields | undefined {
  if (factors.every((factor) => factor === 1)) return undefined;
  const theta = metadata.number(`${architecture}.rope.freq_base`) ?? 10_000;
  const factor = shortNumber(factors.reduce((most, each) => Math.max(most, each)));
  const original = originalContext(factors, theta, factor);
  const expected = llama3Factors(factors.length, { theta, factor, original });
  if (!expected.every((each, i) => Math.abs(factors[i]! / each - 1) < TOLERANCE)) {
    return longrope(factors, factors, { ...attentionFactor(1) });
  }
  return { rope_type: "llama3", factor, ...LLAMA3, original_max_position_embeddings: original };
}

/** The context before the stretch, from a frequency that is neither kept nor stretched in full. */
function originalContext(factors: Float32Array, theta: number, factor: number): number {
  const mixed = factors.findIndex((each) => each > 1 && each < factor);
  if (mixed === -1) return LLAMA3_CONTEXT;
  const { low_freq_factor: low, high_freq_factor: high } = LLAMA3;
  const smooth = (1 / factors[mixed]! - 1 / factor) / (1 - 1 / factor);
  const turns = low + smooth * (high - low);
  return Math.round(turns * 2 * Math.PI * theta ** (mixed / factors.length));
}

/** What Llama 3.1 divides each frequency by (Llama 3.1 model card). */
function llama3Factors(
  half: number,
  { theta, factor, original }: { theta: number; factor: number; original: number },
): number[] {
  const { low_freq_factor: low, high_freq_factor: high } = LLAMA3;
  return Array.from({ length: half }, (_, i) => {
    const turns = original * theta ** (-i / half) / (2 * Math.PI);
    if (turns < low) return factor;
    if (turns > high) return 1;
    const smooth = (turns - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}

/** LongRoPE (Ding et al. 2024, 2402.13753). */
function longrope(long: Float32Array, short: Float32Array, more: Fields): Fields {
  return {
    rope_type: "longrope",
    long_factor: Array.from(long, shortNumber),
    short_factor: Array.from(short, shortNumber),
    ...more,
  };
}

function attentionFactor(value: number | undefined): Fields {
  return value === undefined ? {} : { attention_factor: shortNumber(value) };
}
