import { z } from "zod";
import { StartupError } from "../src/core/errors.ts";
import { parseModelJson } from "../src/core/model_json.ts";

/** How rotary frequencies are changed for contexts longer than those first trained on. */
export type RopeScaling = Llama3RopeScaling | LinearRopeScaling;

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

/** Position interpolation (Chen et al. 2023, arXiv:2306.15595): every frequency over `factor`. */
export interface LinearRopeScaling {
  readonly type: "linear";
  readonly factor: number;
}

const Theta = z.number().min(1).max(1e12);
const Factor = z.number().min(1).max(1024);

/** The whole head is rotated; models that rotate a part of it say so here. */
const RotaryFactor = z.literal(1).nullish();

const Places = z.object({
  rope_theta: Theta.nullish(),
  rope_scaling: z.record(z.string(), z.unknown()).nullish(),
  rope_parameters: z.record(z.string(), z.unknown()).nullish(),
  partial_rotary_factor: RotaryFactor,
});

const Inner = z.object({ rope_theta: Theta.nullish(), partial_rotary_factor: RotaryFactor });

const Llama3 = z.object({
  factor: Factor,
  low_freq_factor: z.number().gt(0).max(1024),
  high_freq_factor: z.number().gt(0).max(1024),
  original_max_position_embeddings: z.int().min(1).max(16_777_216),
}).refine((rope) => rope.high_freq_factor > rope.low_freq_factor, {
  path: ["high_freq_factor"],
  message: "must be greater than low_freq_factor",
});

const Linear = z.object({ factor: Factor });

/** The rotary settings of a config.json. */
export interface RopeSettings {
  readonly theta: number;
  /** Absent: the frequencies are used as they are. */
  readonly scaling: RopeScaling | undefined;
  /** What of the file is ignored, one sentence each. */
  readonly warnings: readonly string[];
}

/**
 * The rotary settings of a config.json: `rope_parameters` as newer files have it, or `rope_theta`
 * and `rope_scaling`. Empty `rope_parameters` count as absent, and an object without a type as the
 * type "default", both with a warning.
 *
 * @throws {StartupError} for a scaling that is not known, by its name, or a number out of bounds.
 */
export function parseRope(json: unknown, file: string): RopeSettings {
  const places = parseModelJson(Places, json, file);
  const { rope_parameters: parameters } = places;
  const place = parameters && !isEmpty(parameters) ? "rope_parameters" : "rope_scaling";
  const rope = places[place] ?? undefined;
  const where = `${file} ${place}`;
  const { rope_theta: inner } = parseModelJson(Inner, rope ?? {}, where);
  const theta = inner ?? places.rope_theta ?? 10_000;
  // The key was "type" before it was "rope_type"; files in transition have both.
  const type = rope?.["rope_type"] ?? rope?.["type"];
  const scaling = parseScaling(type, rope ?? {}, where);
  const warnings = [
    ...parameters && isEmpty(parameters)
      ? [`${file} rope_parameters is empty and counts as absent`]
      : [],
    ...rope === undefined ? [] : warnOfNoType(type, rope, where),
  ];
  return { theta, scaling, warnings };
}

function isEmpty(object: object): boolean {
  return Object.keys(object).length === 0;
}

/** What is said without a type: nothing tells what it means. */
function warnOfNoType(
  type: unknown,
  rope: Readonly<Record<string, unknown>>,
  where: string,
): string[] {
  if (type !== undefined && type !== null) return [];
  const ignored = Object.keys(rope).filter((name) => !(name in Inner.shape) && !/type$/.test(name));
  // A base alone is a whole answer in rope_parameters, and none in rope_scaling.
  if (ignored.length === 0 && where.endsWith("rope_parameters")) return [];
  const without = ignored.length === 0 ? "" : `, without ${ignored.join(", ")}`;
  return [`${where} has no type and counts as "default"${without}`];
}

function parseScaling(type: unknown, rope: unknown, where: string): RopeScaling | undefined {
  switch (type) {
    case undefined:
    case null:
    case "default":
      if (Object.values(rope as object).some((value) => typeof value === "object" && value)) {
        throw new StartupError(`${where}: settings per kind of layer are not supported`);
      }
      return undefined;
    case "linear": {
      const { factor } = parseModelJson(Linear, rope, where);
      return Object.freeze({ type: "linear", factor });
    }
    case "llama3": {
      const fields = parseModelJson(Llama3, rope, where);
      return Object.freeze({
        type: "llama3",
        factor: fields.factor,
        lowFreqFactor: fields.low_freq_factor,
        highFreqFactor: fields.high_freq_factor,
        originalMaxPositionEmbeddings: fields.original_max_position_embeddings,
      });
    }
    default:
      throw new StartupError(
        `${where}: type is ${JSON.stringify(type)}: known are default, linear, llama3`,
      );
  }
}
