import { z } from "zod";
import { parseModelJson } from "../src/core/model_json.ts";
import { DECODER_FIELDS, decoderSizes, oneOf } from "./config_fields.ts";
import { decoder } from "./decoder.ts";
import { attention, embedding, feedForward, ignoredTensors, lmHead } from "./layers.ts";
import type { ModelFamily } from "./model.ts";
import { QWEN_WINDOW_FIELDS, qwenWindows } from "./qwen_windows.ts";
import { parseRope } from "./rope_config.ts";

const Qwen3Json = z.object({
  ...DECODER_FIELDS,
  ...QWEN_WINDOW_FIELDS,
  hidden_act: oneOf("silu"),
  attention_bias: z.boolean().default(false),
});

/**
 * The dense decoder of Qwen3 (2505.09388): Llama's, with an RMSNorm on each head's queries and keys
 * before they are rotated.
 */
export const qwen3: ModelFamily = (json, file) => {
  const fields = parseModelJson(Qwen3Json, json, file);
  const { attention_bias: hasBiases } = fields;
  const sizes = decoderSizes(fields, file);
  const rope = parseRope(json, file, sizes);
  return decoder({
    modelType: "qwen3",
    vocabSize: sizes.vocabSize,
    maxPositionEmbeddings: rope.maxPositionEmbeddings,
    embed: embedding(sizes),
    layers: qwenWindows(fields, file).map((window, layer) => [
      attention({
        ...{ layer, ...sizes, rope: "rope", normalizes: "heads" },
        ...{ window, hasBiases, hasOutputBias: hasBiases },
      }),
      feedForward({ layer, ...sizes }),
    ]),
    lmHead: lmHead(sizes),
    positionTables: { rope: rope.table },
    ignoredTensors: ignoredTensors(sizes),
    warnings: rope.warnings,
  });
};
