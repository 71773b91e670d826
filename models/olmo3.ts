import { z } from "zod";
import { parseModelJson } from "../src/core/model_json.ts";
import { DECODER_FIELDS, type DecoderSizes, decoderSizes, off, oneOf } from "./config_fields.ts";
import { decoder } from "./decoder.ts";
import { DEFAULT_WINDOW, layerTypes, layerWindows, WINDOW_FIELDS } from "./layer_windows.ts";
import { attention, embedding, feedForward, ignoredTensors, lmHead } from "./layers.ts";
import type { ModelFamily } from "./model.ts";
import { hasRopeByKind, parseRope, type RopeSettings } from "./rope_config.ts";

const Olmo3Json = z.object({
  ...DECODER_FIELDS,
  ...WINDOW_FIELDS,
  rms_norm_eps: DECODER_FIELDS.rms_norm_eps.default(1e-5),
  sliding_window: WINDOW_FIELDS.sliding_window.default(DEFAULT_WINDOW),
  hidden_act: oneOf("silu"),
  attention_bias: off("biases are"),
  rope_theta: z.number().default(500_000),
});

/** Of so many layers the last reads all, where no list says which do. */
const PATTERN = 4;

/**
 * The decoder of OLMo 3 (2512.13961): OLMo 2's, three of four layers with a window. Rotary
 * frequencies are scaled in the layers that read all, and in no others.
 */
export const olmo3: ModelFamily = (json, file) => {
  const fields = parseModelJson(Olmo3Json, json, file);
  const sizes = decoderSizes(fields, file);
  const { full, local } = ropesByKind(
    { ...json as object, rope_theta: fields.rope_theta },
    file,
    sizes,
  );
  const types = layerTypes(fields, (layer) => (layer + 1) % PATTERN !== 0, file);
  return decoder({
    modelType: "olmo3",
    vocabSize: sizes.vocabSize,
    maxPositionEmbeddings: full.maxPositionEmbeddings,
    embed: embedding(sizes),
    layers: layerWindows(types, fields.sliding_window, file).map((window, layer) => [
      attention({
        ...{ layer, ...sizes, window, rope: window === undefined ? "rope" : "local_rope" },
        normalizes: "rows",
        norms: { after: "post_attention_layernorm" },
      }),
      feedForward({ layer, ...sizes, norms: { after: "post_feedforward_layernorm" } }),
    ]),
    lmHead: lmHead(sizes),
    positionTables: { rope: full.table, local_rope: local.table },
    ignoredTensors: ignoredTensors(sizes),
    warnings: [...full.warnings, ...local.warnings],
  });
};

/** The rotary settings of layers that read all, and of those with a window. */
function ropesByKind(
  json: unknown,
  file: string,
  { headDim }: DecoderSizes,
): { full: RopeSettings; local: Pick<RopeSettings, "table" | "warnings"> } {
  const full = parseRope(json, file, { headDim, kind: "full_attention" });
  if (hasRopeByKind(json, file)) {
    return { full, local: parseRope(json, file, { headDim, kind: "sliding_attention" }) };
  }
  return { full, local: { table: { ...full.table, scaling: undefined }, warnings: [] } };
}
