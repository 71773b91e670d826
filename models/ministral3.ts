import { z } from "zod";
import { parseModelJson } from "../src/core/model_json.ts";
import { count, DECODER_FIELDS, decoderSizes, oneOf } from "./config_fields.ts";
import { decoder } from "./decoder.ts";
import { layerTypes, layerWindows, WINDOW_FIELDS } from "./layer_windows.ts";
import { attention, embedding, feedForward, ignoredTensors, lmHead } from "./layers.ts";
import type { ModelFamily } from "./model.ts";
import { parseRope } from "./rope_config.ts";

const Ministral3Json = z.object({
  ...DECODER_FIELDS,
  ...WINDOW_FIELDS,
  rms_norm_eps: DECODER_FIELDS.rms_norm_eps.default(1e-5),
  hidden_act: oneOf("silu"),
  rope_parameters: z.object({
    llama_4_scaling_beta: z.number().min(0).max(64),
    original_max_position_embeddings: count(16_777_216),
  }),
});

/**
 * Ministral 3's decoder: Mistral's, with YaRN, and queries that grow by
 * `1 + b ln(1 + floor(p / L))` with their positions, `L` the context before the stretch (Llama 4).
 */
export const ministral3: ModelFamily = (json, file) => {
  const fields = parseModelJson(Ministral3Json, json, file);
  const sizes = decoderSizes(fields, file);
  const { sliding_window: window, rope_parameters: parameters } = fields;
  const types = layerTypes(fields, () => window !== null && window !== undefined, file);
  const rope = parseRope(json, file, sizes);
  const queryGrowth = {
    rate: parameters.llama_4_scaling_beta,
    span: parameters.original_max_position_embeddings,
  };
  return decoder({
    modelType: "ministral3",
    vocabSize: sizes.vocabSize,
    maxPositionEmbeddings: rope.maxPositionEmbeddings,
    embed: embedding(sizes),
    layers: layerWindows(types, window, file).map((window, layer) => [
      attention({ layer, ...sizes, rope: "rope", window, queryGrowth }),
      feedForward({ layer, ...sizes }),
    ]),
    lmHead: lmHead(sizes),
    positionTables: { rope: rope.table },
    ignoredTensors: ignoredTensors(sizes),
    warnings: rope.warnings,
  });
};
