import { z } from "zod";
import { parseModelJson } from "../src/core/model_json.ts";
import { count, decoderSizes } from "./config_fields.ts";
import { decoder } from "./decoder.ts";
import {
  GEMMA_FIELDS,
  gemmaEmbedding,
  gemmaLayer,
  gemmaLmHead,
  gemmaWindows,
  SoftCap,
} from "./gemma_parts.ts";
import { ignoredTensors } from "./layers.ts";
import type { ModelFamily } from "./model.ts";
import { hasRopeByKind, parseRope, type RopeSettings } from "./rope_config.ts";

const Pattern = count(512).nullish();

const Gemma3Json = z.object({
  ...GEMMA_FIELDS,
  /** Of so many layers the last reads all; newer files name the field with an underscore. */
  sliding_window_pattern: Pattern,
  _sliding_window_pattern: Pattern,
  attn_logit_softcapping: z.null("soft caps of attention are not supported").optional(),
  final_logit_softcapping: SoftCap.default(null),
});

/** Bases where the settings are not by kind of layer. */
const RopeBases = z.object({
  rope_theta: z.number().default(1_000_000),
  rope_local_base_freq: z.number().default(10_000),
});

/**
 * The text model of Gemma 3 (Gemma Team 2025, arXiv:2503.19786): Gemma 2 without its caps, with an
 * RMSNorm on each head's queries and keys, and for each layer that reads all five with a window,
 * whose rotary base is another.
 */
export const gemma3: ModelFamily = (json, file) => {
  const fields = parseModelJson(Gemma3Json, json, file);
  const sizes = decoderSizes(fields, file);
  const { full, local } = ropesByKind(json, file, sizes);
  const pattern = fields.sliding_window_pattern ?? fields._sliding_window_pattern ?? 6;
  const windows = gemmaWindows(fields, (layer) => (layer + 1) % pattern !== 0, file);
  return decoder({
    modelType: "gemma3_text",
    vocabSize: sizes.vocabSize,
    maxPositionEmbeddings: contextOf(full, local),
    embed: gemmaEmbedding(sizes),
    layers: windows.map((window, layer) => {
      const rope = window === undefined ? "rope" : "local_rope";
      return gemmaLayer(fields, sizes, { layer, window, rope, normalizes: "heads" });
    }),
    lmHead: gemmaLmHead(sizes, fields.final_logit_softcapping),
    positionTables: { rope: full.table, local_rope: local.table },
    ignoredTensors: ignoredTensors(sizes),
    warnings: [...full.warnings, ...local.warnings],
  });
};

/** Layers that read all say how long a context is; a dynamic scaling of the others ends it, too. */
function contextOf(full: RopeSettings, local: RopeSettings): number {
  if (local.table.scaling?.type !== "dynamic") return full.maxPositionEmbeddings;
  return Math.min(full.maxPositionEmbeddings, local.maxPositionEmbeddings);
}

/**
 * The rotary settings of layers that read all, and of those with a window: newer files have them by
 * kind of layer, others scale the first alone and name a base for the second.
 */
function ropesByKind(
  json: unknown,
  file: string,
  { headDim }: { readonly headDim: number },
): { full: RopeSettings; local: RopeSettings } {
  if (hasRopeByKind(json, file)) {
    return {
      full: parseRope(json, file, { headDim, kind: "full_attention" }),
      local: parseRope(json, file, { headDim, kind: "sliding_attention" }),
    };
  }
  const { rope_theta, rope_local_base_freq } = parseModelJson(RopeBases, json, file);
  const { rope_scaling: _, rope_parameters: __, ...plain } = json as Record<string, unknown>;
  return {
    full: parseRope({ ...json as object, rope_theta }, file, { headDim }),
    local: parseRope({ ...plain, rope_theta: rope_local_base_freq }, file, { headDim }),
  };
}
