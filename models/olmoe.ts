import { z } from "zod";
import { parseModelJson } from "../src/core/model_json.ts";
import {
  DECODER_FIELDS,
  decoderSizes,
  EXPERT_FIELDS,
  off,
  oneOf,
  routing,
} from "./config_fields.ts";
import { decoder } from "./decoder.ts";
import { experts } from "./experts.ts";
import { attention, embedding, ignoredTensors, lmHead } from "./layers.ts";
import type { ModelFamily } from "./model.ts";
import { parseRope } from "./rope_config.ts";

const OlmoeJson = z.object({
  ...DECODER_FIELDS,
  ...EXPERT_FIELDS,
  num_experts: EXPERT_FIELDS.num_experts.default(64),
  rms_norm_eps: DECODER_FIELDS.rms_norm_eps.default(1e-5),
  hidden_act: oneOf("silu"),
  attention_bias: off("biases are"),
  clip_qkv: z.null("clipped queries, keys and values are not supported").optional(),
});

/**
 * The decoder of OLMoE (2409.02060): Llama's, with an RMSNorm over all queries of a row and over
 * all its keys before they are rotated, and experts in every layer. `intermediate_size` is that of
 * one expert.
 */
export const olmoe: ModelFamily = (json, file) => {
  const fields = parseModelJson(OlmoeJson, json, file);
  const sizes = decoderSizes(fields, file);
  const rope = parseRope(json, file, sizes);
  const choice = routing(fields, file);
  return decoder({
    modelType: "olmoe",
    vocabSize: sizes.vocabSize,
    maxPositionEmbeddings: rope.maxPositionEmbeddings,
    embed: embedding(sizes),
    layers: Array.from({ length: sizes.numLayers }, (_, layer) => [
      attention({ layer, ...sizes, rope: "rope", normalizes: "rows" }),
      experts({ layer, ...sizes, ...choice }),
    ]),
    lmHead: lmHead(sizes),
    positionTables: { rope: rope.table },
    ignoredTensors: ignoredTensors(sizes),
    warnings: rope.warnings,
  });
};
