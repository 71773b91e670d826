import { z } from "zod";
import { DECODER_FIELDS, type DecoderSizes, decoderSizes } from "../models/config_fields.ts";
import type { Model } from "../models/model.ts";
import { parseRope } from "../models/rope_config.ts";
import { parseModel } from "../models/registry.ts";
import { parseModelJson } from "../src/core/model_json.ts";
import { findPreset } from "../src/plan/presets.ts";

/** A model that benches measure by its shape alone, with random weights. */
export interface BenchShape {
  readonly name: string;
  /** The content of a config.json of this shape. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What the shape leaves out of the model it is named after. */
  readonly note?: string;
}

const PLAIN_ROPE = "with plain rotary frequencies";

/** Shapes as the models' published config.json files state them, smallest first. */
export const SHAPES: readonly BenchShape[] = [
  {
    name: "tiny",
    note: "of no model: small enough to prove that a bench works",
    config: {
      model_type: "llama",
      rms_norm_eps: 1e-5,
      hidden_size: 64,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      head_dim: 16,
      intermediate_size: 160,
      vocab_size: 512,
      max_position_embeddings: 2048,
      rope_theta: 10_000,
      tie_word_embeddings: true,
    },
  },
  published("smollm2-135m", { rms_norm_eps: 1e-5, rope_theta: 100_000 }),
  {
    name: "gemma-3-270m",
    config: {
      model_type: "gemma3_text",
      rms_norm_eps: 1e-6,
      hidden_size: 640,
      num_hidden_layers: 18,
      num_attention_heads: 4,
      num_key_value_heads: 1,
      head_dim: 256,
      intermediate_size: 2048,
      vocab_size: 262_144,
      max_position_embeddings: 32_768,
      sliding_window: 512,
      sliding_window_pattern: 6,
      query_pre_attn_scalar: 256,
      rope_theta: 1_000_000,
      rope_local_base_freq: 10_000,
      tie_word_embeddings: true,
    },
  },
  published("qwen3-0.6b", { rms_norm_eps: 1e-6, rope_theta: 1_000_000 }),
  published("llama-3.2-1b", { rms_norm_eps: 1e-5, rope_theta: 500_000 }, PLAIN_ROPE),
  published("llama-3.1-8b", { rms_norm_eps: 1e-5, rope_theta: 500_000 }, PLAIN_ROPE),
];

/** A model that the planner has as a preset, too. */
function published(
  name: string,
  fields: Readonly<Record<string, number>>,
  note?: string,
): BenchShape {
  const config = { ...findPreset(name)!.config, ...fields };
  return { name, config, ...(note === undefined ? {} : { note }) };
}

/** The shape of that name in any case. @throws {RangeError} naming those there are. */
export function findShape(name: string): BenchShape {
  const shape = SHAPES.find((known) => known.name === name.toLowerCase());
  if (shape !== undefined) return shape;
  const known = SHAPES.map((each) => each.name).join(", ");
  throw new RangeError(`Cannot find shape "${name}": known are ${known}`);
}

/** The shape as model code reads it. */
export function shapeModel({ name, config }: BenchShape): Model {
  return parseModel(config, `shape ${name}`);
}

/** The sizes of a shape's layers, and the base of its rotary frequencies. */
export interface ShapeSizes extends DecoderSizes {
  readonly ropeTheta: number;
}

/** The sizes that the shape's config.json states. */
export function shapeSizes({ name, config }: BenchShape): ShapeSizes {
  const file = `shape ${name}`;
  const sizes = decoderSizes(parseModelJson(z.object(DECODER_FIELDS), config, file), file);
  return { ...sizes, ropeTheta: parseRope(config, file, sizes).table.theta };
}
