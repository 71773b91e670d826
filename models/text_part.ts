import { z } from "zod";
import { omitUndefined } from "../src/base/omit_undefined.ts";
import { parseModelJson } from "../src/core/model_json.ts";

/** What a checkpoint of several modalities says of its text model. */
export interface TextPart {
  /** The text model's fields, as its own config.json would have them. */
  readonly json: unknown;
  /** What error messages call them. */
  readonly file: string;
}

const Settings = z.record(z.string(), z.unknown());
const WrapperJson = z.object({
  text_config: Settings.nullish(),
  tie_word_embeddings: z.boolean().optional(),
  quantization_config: z.unknown().optional(),
});
const RopeJson = z.object({
  rope_scaling: Settings.nullish(),
  rope_parameters: Settings.nullish(),
});

/**
 * The text model's part of a config.json of several modalities: its `text_config`, or all of the
 * file where, as in older ones, the text model's fields are the file's own.
 *
 * @param modelType `model_type` of the text model's family.
 * @param defaults fields of the family's own configuration class that such files leave out.
 * @throws {StartupError} naming the field.
 */
export function textPartOf(
  json: unknown,
  file: string,
  { modelType, defaults = {} }: {
    readonly modelType: string;
    readonly defaults?: Readonly<Record<string, unknown>>;
  },
): TextPart {
  const { text_config: text, ...whole } = parseModelJson(WrapperJson, json, file);
  const own = text ?? Settings.parse(json);
  const where = text === undefined || text === null ? file : `${file} text_config`;
  // What a file says of all its models, unless it says otherwise of this one.
  const fields = { ...defaults, ...omitUndefined(whole), ...own, model_type: modelType };
  return { json: { ...fields, ...plainRope(own, where) }, file: where };
}

/**
 * Rotary settings without the sections of M-RoPE (Wang et al. 2024, Qwen2-VL, 2409.12191), which
 * say which pairs of elements turn by a token's time, height and width. All three are a token's
 * position where it is text, so that M-RoPE of text alone is RoPE.
 */
function plainRope(json: Readonly<Record<string, unknown>>, file: string) {
  const { rope_scaling: scaling, rope_parameters: parameters } = parseModelJson(
    RopeJson,
    json,
    file,
  );
  return {
    ...isSections(scaling) ? { rope_scaling: withoutSections(scaling) } : {},
    ...isSections(parameters) ? { rope_parameters: withoutSections(parameters) } : {},
  };
}

type RopeFields = Readonly<Record<string, unknown>>;

function isSections(rope: RopeFields | null | undefined): rope is RopeFields {
  return typeof rope === "object" && rope !== null && "mrope_section" in rope;
}

function withoutSections({ mrope_section: _, mrope_interleaved: __, type, ...rope }: RopeFields) {
  const { rope_type: ropeType = type ?? "default" } = rope;
  return { ...rope, rope_type: ropeType === "mrope" ? "default" : ropeType };
}
