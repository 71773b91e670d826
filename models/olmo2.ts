import { z } from "zod";
import { parseModelJson } from "../src/core/model_json.ts";
import { DECODER_FIELDS, decoderSizes, off, oneOf } from "./config_fields.ts";
import { decoder } from "./decoder.ts";
import { attention, embedding, feedForward, ignoredTensors, lmHead } from "./layers.ts";
import type { ModelFamily } from "./model.ts";
import { parseRope } from "./rope_config.ts";

const Olmo2Json = z.object({
  ...DECODER_FIELDS,
  rms_norm_eps: DECODER_FIELDS.rms_norm_eps.default(1e-5),
  hidden_act: oneOf("silu"),
  attention_bias: off("biases are"),
});

/**
 * The decoder of OLMo 2 (2501.00656): Llama's, with the norms after the sublayers in place of
 * before them, and an RMSNorm over all queries of a row and over all its keys before they are
 * rotated.
 *
 *     per layer:  hidden += norm(o(attention(rope(norm(q), norm(k)), v)))
 *                 hidden += norm(down(silu(gate(hidden)) * up(hidden)))
 */
export const olmo2: ModelFamily = (json, file) => {
  const sizes = decoderSizes(parseModelJson(Olmo2Json, json, file), file);
  const rope = parseRope(json, file, sizes);
  return decoder({
    modelType: "olmo2",
    vocabSize: sizes.vocabSize,
    maxPositionEmbeddings: rope.maxPositionEmbeddings,
    embed: embedding(sizes),
    layers: Array.from({ length: sizes.numLayers }, (_, layer) => [
      attention({
        layer,
        ...sizes,
        rope: "rope",
        normalizes: "rows",
        norms: { after: "post_attention_layernorm" },
      }),
      feedForward({ layer, ...sizes, norms: { after: "post_feedforward_layernorm" } }),
    ]),
    lmHead: lmHead(sizes),
    positionTables: { rope: rope.table },
    ignoredTensors: ignoredTensors(sizes),
    warnings: rope.warnings,
  });
};
