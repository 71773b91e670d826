import { z } from "zod";
import { parseModelJson } from "../src/core/model_json.ts";
import { DECODER_FIELDS, decoderSizes, off, oneOf } from "./config_fields.ts";
import { decoder } from "./decoder.ts";
import { layerTypes, layerWindows, WINDOW_FIELDS } from "./layer_windows.ts";
import { attention, embedding, feedForward, ignoredTensors, lmHead } from "./layers.ts";
import type { ModelFamily } from "./model.ts";
import { parseRope } from "./rope_config.ts";

const Phi3Json = z.object({
  ...DECODER_FIELDS,
  ...WINDOW_FIELDS,
  rms_norm_eps: DECODER_FIELDS.rms_norm_eps.default(1e-5),
  hidden_act: oneOf("silu"),
  attention_bias: off("biases are"),
  mlp_bias: off("biases are"),
  lm_head_bias: off("biases are"),
});

/**
 * The decoder of Phi-3 (2404.14219), Phi-3.5 and Phi-4-mini (2503.01743): Llama's, with queries,
 * keys and values in one tensor, gates and ups in one, a window in all layers where it has one, and
 * a rotation of a part of each head where the file says so.
 */
export const phi3: ModelFamily = (json, file) => {
  const fields = parseModelJson(Phi3Json, json, file);
  const sizes = decoderSizes(fields, file);
  const { sliding_window: window } = fields;
  const types = layerTypes(fields, () => window !== null && window !== undefined, file);
  const rope = parseRope(json, file, { ...sizes, allowsPart: true });
  const { rotaryDim } = rope.table;
  return decoder({
    modelType: "phi3",
    vocabSize: sizes.vocabSize,
    maxPositionEmbeddings: rope.maxPositionEmbeddings,
    embed: embedding(sizes),
    layers: layerWindows(types, window, file).map((window, layer) => [
      attention({ layer, ...sizes, rope: "rope", rotaryDim, window, isFused: true }),
      feedForward({ layer, ...sizes, isFused: true }),
    ]),
    lmHead: lmHead(sizes),
    positionTables: { rope: rope.table },
    ignoredTensors: ignoredTensors(sizes),
    warnings: rope.warnings,
  });
};
