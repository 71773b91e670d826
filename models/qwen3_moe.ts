import { z } from "zod";
import { parseModelJson } from "../src/core/model_json.ts";
import {
  count,
  DECODER_FIELDS,
  decoderSizes,
  EXPERT_FIELDS,
  off,
  oneOf,
  routing,
} from "./config_fields.ts";
import { decoder } from "./decoder.ts";
import { experts } from "./experts.ts";
import { attention, embedding, feedForward, ignoredTensors, lmHead } from "./layers.ts";
import type { ModelFamily } from "./model.ts";
import { parseRope } from "./rope_config.ts";

const Qwen3MoeJson = z.object({
  ...DECODER_FIELDS,
  ...EXPERT_FIELDS,
  num_experts: EXPERT_FIELDS.num_experts.default(128),
  moe_intermediate_size: DECODER_FIELDS.intermediate_size.default(768),
  /** A layer has experts where its number, from 1, is a multiple of it. */
  decoder_sparse_step: count(512).default(1),
  /** Layers that have one feed-forward sublayer all the same. */
  mlp_only_layers: z.array(z.int().min(0)).max(512).nullish(),
  hidden_act: oneOf("silu"),
  attention_bias: z.boolean().default(false),
  use_sliding_window: off("sliding windows of this family are"),
});

/**
 * Qwen3's decoder with experts (2505.09388): Qwen3's, with a choice of experts in place of the
 * feed-forward sublayer of all layers, or of some.
 */
export const qwen3Moe: ModelFamily = (json, file) => {
  const fields = parseModelJson(Qwen3MoeJson, json, file);
  const { attention_bias: hasBiases, moe_intermediate_size: intermediateSize } = fields;
  const sizes = decoderSizes(fields, file);
  const rope = parseRope(json, file, sizes);
  const choice = routing(fields, file);
  const isDense = (layer: number) =>
    (layer + 1) % fields.decoder_sparse_step !== 0 || fields.mlp_only_layers?.includes(layer);
  return decoder({
    modelType: "qwen3_moe",
    vocabSize: sizes.vocabSize,
    maxPositionEmbeddings: rope.maxPositionEmbeddings,
    embed: embedding(sizes),
    layers: Array.from({ length: sizes.numLayers }, (_, layer) => [
      attention({
        ...{ layer, ...sizes, rope: "rope", normalizes: "heads" },
        ...{ hasBiases, hasOutputBias: hasBiases },
      }),
      isDense(layer)
        ? feedForward({ layer, ...sizes })
        : experts({ layer, ...sizes, ...choice, intermediateSize }),
    ]),
    lmHead: lmHead(sizes),
    positionTables: { rope: rope.table },
    ignoredTensors: ignoredTensors(sizes),
    warnings: rope.warnings,
  });
};
