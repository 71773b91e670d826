import { z } from "zod";
import { parseModelJson } from "../src/core/model_json.ts";
import { DECODER_FIELDS, decoderSizes, oneOf } from "./config_fields.ts";
import { decoder } from "./decoder.ts";
import { attention, embedding, feedForward, ignoredTensors, lmHead } from "./layers.ts";
import type { ModelFamily } from "./model.ts";
import { parseRope } from "./rope_config.ts";

const LlamaJson = z.object({
  ...DECODER_FIELDS,
  hidden_act: oneOf("silu"),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
});

/**
 * The Llama decoder (Touvron 2023, 2302.13971; GQA from 2307.09288), as its checkpoints name it.
 *
 *     hidden = embed(tokens)
 *     per layer:  hidden += o(attention(rope(qkv(norm(hidden)))))
 *                 hidden += down(silu(gate(norm(hidden))) * up(norm(hidden)))
 *     logits = lm_head(norm(hidden)), on the rows that are drawn from
 */
export const llama: ModelFamily = (json, file) => {
  const fields = parseModelJson(LlamaJson, json, file);
  const { attention_bias: hasBiases, mlp_bias: hasMlpBiases } = fields;
  const sizes = decoderSizes(fields, file);
  const rope = parseRope(json, file, sizes);
  return decoder({
    modelType: "llama",
    vocabSize: sizes.vocabSize,
    maxPositionEmbeddings: rope.maxPositionEmbeddings,
    embed: embedding(sizes),
    layers: Array.from({ length: sizes.numLayers }, (_, layer) => [
      attention({ layer, ...sizes, rope: "rope", hasBiases, hasOutputBias: hasBiases }),
      feedForward({ layer, ...sizes, hasBiases: hasMlpBiases }),
    ]),
    lmHead: lmHead(sizes),
    positionTables: { rope: rope.table },
    ignoredTensors: ignoredTensors(sizes),
    warnings: rope.warnings,
  });
};
