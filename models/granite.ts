import { z } from "zod";
import { parseModelJson } from "../src/core/model_json.ts";
import { DECODER_FIELDS, decoderSizes, oneOf } from "./config_fields.ts";
import { decoder } from "./decoder.ts";
import { attention, embedding, feedForward, ignoredTensors, lmHead } from "./layers.ts";
import type { ModelFamily } from "./model.ts";
import { parseRope } from "./rope_config.ts";

const Multiplier = z.number().gt(0).max(65_536).default(1);

const GraniteJson = z.object({
  ...DECODER_FIELDS,
  hidden_act: oneOf("silu"),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  embedding_multiplier: Multiplier,
  /** Of scores, in place of one over the root of a head's size. */
  attention_multiplier: Multiplier,
  /** Of what sublayers add to the residual stream. */
  residual_multiplier: Multiplier,
  /** What logits are divided by. */
  logits_scaling: Multiplier,
});

/**
 * The dense decoder of Granite 3 (IBM 2024, github.com/ibm-granite/granite-3.0-language-models):
 * Llama's, with a multiplier of embeddings, of scores, of what sublayers add, and of logits.
 */
export const granite: ModelFamily = (json, file) => {
  const fields = parseModelJson(GraniteJson, json, file);
  const { attention_bias: hasBiases, mlp_bias: hasMlpBiases } = fields;
  const sizes = decoderSizes(fields, file);
  const shared = { ...sizes, residualScale: fields.residual_multiplier };
  const rope = parseRope(json, file, sizes);
  return decoder({
    modelType: "granite",
    vocabSize: sizes.vocabSize,
    maxPositionEmbeddings: rope.maxPositionEmbeddings,
    embed: embedding(sizes, { scale: fields.embedding_multiplier }),
    layers: Array.from({ length: sizes.numLayers }, (_, layer) => [
      attention({
        ...{ layer, ...shared, rope: "rope", scale: fields.attention_multiplier },
        ...{ hasBiases, hasOutputBias: hasBiases },
      }),
      feedForward({ layer, ...shared, hasBiases: hasMlpBiases }),
    ]),
    lmHead: lmHead({ ...sizes, logitScale: 1 / fields.logits_scaling }),
    positionTables: { rope: rope.table },
    ignoredTensors: ignoredTensors(sizes),
    warnings: rope.warnings,
  });
};
