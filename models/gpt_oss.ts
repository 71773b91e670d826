import { z } from "zod";
import { parseModelJson } from "../src/core/model_json.ts";
import { count, DECODER_FIELDS, decoderSizes, oneOf, routing } from "./config_fields.ts";
import { decoder } from "./decoder.ts";
import { experts } from "./experts.ts";
import { layerTypes, layerWindows, WINDOW_FIELDS } from "./layer_windows.ts";
import { attention, embedding, ignoredTensors, lmHead } from "./layers.ts";
import type { ModelFamily } from "./model.ts";
import { parseRope } from "./rope_config.ts";

const GptOssJson = z.object({
  ...DECODER_FIELDS,
  ...WINDOW_FIELDS,
  sliding_window: WINDOW_FIELDS.sliding_window.default(128),
  rms_norm_eps: DECODER_FIELDS.rms_norm_eps.default(1e-5),
  max_position_embeddings: DECODER_FIELDS.max_position_embeddings.default(131_072),
  num_local_experts: count(1024).default(128),
  num_experts_per_tok: count(64).default(4),
  swiglu_limit: z.number().gt(0).max(1e6).default(7),
  hidden_act: oneOf("silu"),
  attention_bias: z.boolean().default(true),
  rope_theta: z.number().default(150_000),
  /** Of files that have gates, ups and outputs of experts apart, as GGUF does; else absent. */
  expert_layout: z.literal("each").optional(),
  quantization_config: z.record(z.string(), z.unknown()).nullish()
    .refine((method) => !method || method["quant_method"] === "mxfp4", "known is mxfp4 of experts"),
});

/** The rotary scaling of files that name none, as in the published models. */
const SCALING = {
  rope_type: "yarn",
  factor: 32,
  beta_fast: 32,
  beta_slow: 1,
  truncate: false,
  original_max_position_embeddings: 4096,
};

/**
 * The decoder of gpt-oss (2508.10925): biases everywhere, a window in every other layer from the
 * first, a sink of each head, and in every layer experts, whose gates and ups are clamped.
 * `intermediate_size` is that of one expert.
 *
 * With `quantization_config` the file has the experts' matrices in MXFP4, row by row of outputs;
 * without it as numbers, transposed.
 */
export const gptOss: ModelFamily = (json, file) => {
  const fields = parseModelJson(GptOssJson, json, file);
  const { attention_bias: hasBiases, quantization_config: quantization } = fields;
  const sizes = decoderSizes({ ...fields, quantization_config: null }, file);
  const types = layerTypes(fields, (layer) => layer % 2 === 0, file);
  const rope = parseRope({ rope_scaling: SCALING, ...fields, ...json as object }, file, sizes);
  const choice = routing({
    num_experts: fields.num_local_experts,
    num_experts_per_tok: fields.num_experts_per_tok,
    norm_topk_prob: true,
  }, file);
  return decoder({
    modelType: "gpt_oss",
    vocabSize: sizes.vocabSize,
    maxPositionEmbeddings: rope.maxPositionEmbeddings,
    embed: embedding(sizes),
    layers: layerWindows(types, fields.sliding_window, file).map((window, layer) => [
      attention({
        ...{ layer, ...sizes, rope: "rope", window, hasSinks: true },
        ...{ hasBiases, hasOutputBias: hasBiases },
      }),
      experts({
        ...{ layer, ...sizes, ...choice, router: "mlp.router", hasBiases: true },
        layout: fields.expert_layout ?? (quantization ? "stacked" : "stacked columns"),
        ...{ activation: "clamped_swish", gateLimit: fields.swiglu_limit },
      }),
    ]),
    lmHead: lmHead(sizes),
    positionTables: { rope: rope.table },
    ignoredTensors: ignoredTensors(sizes),
    warnings: rope.warnings,
  });
};
