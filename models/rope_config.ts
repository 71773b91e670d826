import { z } from "zod";
import { StartupError } from "../src/core/errors.ts";
import { parseModelJson } from "../src/core/model_json.ts";
import { parseScaling, type RopeScaling } from "./rope_scaling.ts";
import type { RopeTableSpec } from "./rope_table.ts";

const Theta = z.number().min(1).max(1e12);

/** The share of a head that is rotated. */
const RotaryFactor = z.number().gt(0).max(1).nullish();

const Places = z.object({
  rope_theta: Theta.nullish(),
  rope_scaling: z.record(z.string(), z.unknown()).nullish(),
  rope_parameters: z.record(z.string(), z.unknown()).nullish(),
  partial_rotary_factor: RotaryFactor,
  max_position_embeddings: z.int().min(1),
  /** Of longrope, where the settings do not have it themselves. */
  original_max_position_embeddings: z.int().min(1).nullish(),
});

const Inner = z.object({ rope_theta: Theta.nullish(), partial_rotary_factor: RotaryFactor });

type Settings = Readonly<Record<string, unknown>>;

/** The heads that a table rotates. */
export interface RopeOptions {
  readonly headDim: number;
  /**
   * The kind of layer, as `layer_types` names it, in families whose `rope_parameters` may have
   * settings for each; without it such settings are refused.
   */
  readonly kind?: string;
  /** Whether the family takes tables for a part of a head; without it they are refused. */
  readonly allowsPart?: boolean;
}

/** The rotary settings of a config.json. */
export interface RopeSettings {
  readonly table: RopeTableSpec;
  /**
   * Longest context that the settings are made for: that of the file, as YaRN stretches it, or the
   * original one of a dynamic scaling.
   */
  readonly maxPositionEmbeddings: number;
  /** The fields of the file that are ignored, one sentence each. */
  readonly warnings: readonly string[];
}

/**
 * The rotary settings of a config.json: `rope_parameters` as newer files have it, or `rope_theta`
 * and `rope_scaling`. Empty `rope_parameters` count as absent, and an object without a type as the
 * type "default", both with a warning.
 *
 * @throws {StartupError} for a scaling that is not known, by its name, or a number out of bounds.
 */
export function parseRope(
  json: unknown,
  file: string,
  { headDim, kind, allowsPart = false }: RopeOptions,
): RopeSettings {
  const places = parseModelJson(Places, json, file);
  const { rope_parameters: parameters } = places;
  const place = parameters && !isEmpty(parameters) ? "rope_parameters" : "rope_scaling";
  const { rope, where } = ofKind(places[place] ?? undefined, `${file} ${place}`, kind);
  const inner = parseModelJson(Inner, rope ?? {}, where);
  const share = inner.partial_rotary_factor ?? places.partial_rotary_factor ?? 1;
  // The key was "type" before it was "rope_type"; files in transition have both.
  const type = rope?.["rope_type"] ?? rope?.["type"];
  const maxLen = places.max_position_embeddings;
  const rotated = rotaryDim(share, { headDim, allowsPart }, file);
  const table = {
    rotaryDim: rotated,
    theta: inner.rope_theta ?? places.rope_theta ?? 10_000,
    scaling: parseScaling(type, rope ?? {}, where, {
      maxLen,
      originalMaxLen: places.original_max_position_embeddings ?? undefined,
      rotaryDim: rotated,
    }),
  };
  const warnings = [
    ...parameters && isEmpty(parameters)
      ? [`${file} rope_parameters is empty and counts as absent`]
      : [],
    ...rope === undefined ? [] : warnOfNoType(type, rope, where),
    ...warnOfDynamic(table.scaling, where),
  ];
  const maxPositionEmbeddings = longest(table.scaling, maxLen);
  return { table: Object.freeze(table), maxPositionEmbeddings, warnings };
}

function warnOfDynamic(scaling: RopeScaling | undefined, where: string): string[] {
  if (scaling?.type !== "dynamic") return [];
  return [
    `${where} is dynamic: contexts end at ${scaling.originalMaxPositionEmbeddings} tokens, from ` +
    `where frequencies would change with every token`,
  ];
}

function longest(scaling: RopeScaling | undefined, maxLen: number): number {
  if (scaling?.type === "dynamic") return scaling.originalMaxPositionEmbeddings;
  if (scaling?.type !== "yarn") return maxLen;
  return Math.max(maxLen, Math.floor(scaling.originalMaxPositionEmbeddings * scaling.factor));
}

/** Elements of a head that are rotated: whole fours, as kernels take them. */
function rotaryDim(
  share: number,
  { headDim, allowsPart }: Required<Pick<RopeOptions, "headDim" | "allowsPart">>,
  file: string,
): number {
  const elements = Math.trunc(share * headDim);
  if (elements === headDim || allowsPart && elements > 0 && elements % 4 === 0) return elements;
  throw new StartupError(
    `${file}: field "partial_rotary_factor" is ${share}, ${elements} of ${headDim} elements: must ` +
      `be ${allowsPart ? "a multiple of 4 above 0" : "1 in this family"}`,
  );
}

/** Whether a config.json has rotary settings for each kind of layer. */
export function hasRopeByKind(json: unknown, file: string): boolean {
  const { rope_parameters: parameters } = parseModelJson(Places, json, file);
  return Object.values(parameters ?? {}).some(isSettings);
}

/** The settings of one kind of layer, where they are by kind. */
function ofKind(
  rope: Settings | undefined,
  where: string,
  kind: string | undefined,
): { rope: Settings | undefined; where: string } {
  if (rope === undefined || !Object.values(rope).some(isSettings)) return { rope, where };
  if (kind === undefined) {
    throw new StartupError(`${where}: settings per kind of layer are not supported`);
  }
  const own = rope[kind];
  if (isSettings(own)) return { rope: own, where: `${where}.${kind}` };
  throw new StartupError(`${where}: field "${kind}" is missing, which other kinds of layer have`);
}

function isSettings(value: unknown): value is Settings {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isEmpty(object: object): boolean {
  return Object.keys(object).length === 0;
}

/** The warning about settings without a type. */
function warnOfNoType(type: unknown, rope: Settings, where: string): string[] {
  if (type !== undefined && type !== null) return [];
  const ignored = Object.keys(rope).filter((name) => !(name in Inner.shape) && !/type$/.test(name));
  // A base alone is a whole answer in rope_parameters, and none in rope_scaling.
  if (ignored.length === 0 && where.includes(" rope_parameters")) return [];
  const without = ignored.length === 0 ? "" : `, without ${ignored.join(", ")}`;
  return [`${where} has no type and counts as "default"${without}`];
}
