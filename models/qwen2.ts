import { z } from "zod";
import { parseModelJson } from "../src/core/model_json.ts";
import { DECODER_FIELDS, decoderSizes, oneOf } from "./config_fields.ts";
import { decoder } from "./decoder.ts";
import { attention, embedding, feedForward, ignoredTensors, lmHead } from "./layers.ts";
import type { ModelFamily } from "./model.ts";
import { QWEN_WINDOW_FIELDS, qwenWindows } from "./qwen_windows.ts";
import { parseRope } from "./rope_config.ts";

const Qwen2Json = z.object({
  ...DECODER_FIELDS,
  ...QWEN_WINDOW_FIELDS,
  hidden_act: oneOf("silu"),
});

/**
 * The dense decoder of Qwen2 and 2.5 (2407.10671, 2412.15115): Llama's, with biases of queries,
 * keys and values.
 */
export const qwen2: ModelFamily = (json, file) => {
  const fields = parseModelJson(Qwen2Json, json, file);
  const sizes = decoderSizes(fields, file);
  const rope = parseRope(json, file, sizes);
  return decoder({
    modelType: "qwen2",
    vocabSize: sizes.vocabSize,
    maxPositionEmbeddings: rope.maxPositionEmbeddings,
    embed: embedding(sizes),
    layers: qwenWindows(fields, file).map((window, layer) => [
      attention({ layer, ...sizes, rope: "rope", window, hasBiases: true }),
      feedForward({ layer, ...sizes }),
    ]),
    lmHead: lmHead(sizes),
    positionTables: { rope: rope.table },
    ignoredTensors: ignoredTensors(sizes),
    warnings: rope.warnings,
  });
};
