import { z } from "zod";
import { parseModelJson } from "../src/core/model_json.ts";
import { DECODER_FIELDS, decoderSizes, oneOf } from "./config_fields.ts";
import { decoder } from "./decoder.ts";
import { DEFAULT_WINDOW, layerTypes, layerWindows, WINDOW_FIELDS } from "./layer_windows.ts";
import { attention, embedding, feedForward, ignoredTensors, lmHead } from "./layers.ts";
import type { Model, ModelFamily } from "./model.ts";
import { parseRope } from "./rope_config.ts";

const MistralJson = z.object({
  ...DECODER_FIELDS,
  ...WINDOW_FIELDS,
  hidden_act: oneOf("silu"),
});

/**
 * Mistral's decoder (2310.06825): Llama's, with a window in all layers where it has one, or in
 * those that `layer_types` names.
 */
export const mistral: ModelFamily = (json, file) => mistralAs("mistral", json, file);

/** Ministral's: Mistral's, in files that say which layers have a window. */
export const ministral: ModelFamily = (json, file) => mistralAs("ministral", json, file);

function mistralAs(modelType: string, json: unknown, file: string): Model {
  const fields = parseModelJson(MistralJson, json, file);
  const sizes = decoderSizes(fields, file);
  const { sliding_window: window = DEFAULT_WINDOW } = fields;
  const types = layerTypes(fields, () => window !== null, file);
  const rope = parseRope(json, file, sizes);
  return decoder({
    modelType,
    vocabSize: sizes.vocabSize,
    maxPositionEmbeddings: rope.maxPositionEmbeddings,
    embed: embedding(sizes),
    layers: layerWindows(types, window, file).map((window, layer) => [
      attention({ layer, ...sizes, rope: "rope", window }),
      feedForward({ layer, ...sizes }),
    ]),
    lmHead: lmHead(sizes),
    positionTables: { rope: rope.table },
    ignoredTensors: ignoredTensors(sizes),
    warnings: rope.warnings,
  });
}
