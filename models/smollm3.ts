import { z } from "zod";
import { StartupError } from "../src/core/errors.ts";
import { parseModelJson } from "../src/core/model_json.ts";
import { count, DECODER_FIELDS, decoderSizes, oneOf } from "./config_fields.ts";
import { decoder } from "./decoder.ts";
import { layerTypes, layerWindows, WINDOW_FIELDS } from "./layer_windows.ts";
import { attention, embedding, feedForward, ignoredTensors, lmHead } from "./layers.ts";
import type { ModelFamily } from "./model.ts";
import { parseRope } from "./rope_config.ts";

const SmolLM3Json = z.object({
  ...DECODER_FIELDS,
  ...WINDOW_FIELDS,
  num_key_value_heads: DECODER_FIELDS.num_key_value_heads.default(4),
  tie_word_embeddings: z.boolean().default(true),
  hidden_act: oneOf("silu"),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  rope_theta: z.number().default(2_000_000),
  use_sliding_window: z.boolean().default(false),
  /** For each layer 1 where queries and keys are rotated, 0 where they are not. */
  no_rope_layers: z.array(z.literal([0, 1])).max(512).nullish(),
  /** Without the list, the last of so many layers does not rotate. */
  no_rope_layer_interval: count(512).default(4),
});

/**
 * SmolLM3's decoder (Bakouch 2025, huggingface.co/blog/smollm3): Llama's, with no rotation in every
 * fourth layer (Yang 2025, 2501.18795). Where windows are in use, those layers have them, or the
 * ones that `layer_types` names.
 */
export const smollm3: ModelFamily = (json, file) => {
  const fields = parseModelJson(SmolLM3Json, json, file);
  const { attention_bias: hasBiases, mlp_bias: hasMlpBiases, sliding_window: window } = fields;
  const sizes = decoderSizes(fields, file);
  const rotates = rotatingLayers(fields, file);
  const slide = fields.use_sliding_window && window !== null && window !== undefined;
  const types = layerTypes(fields, (layer) => slide && !rotates[layer], file);
  const windows = slide ? layerWindows(types, window, file) : types.map(() => undefined);
  const rope = parseRope({ ...json as object, rope_theta: fields.rope_theta }, file, sizes);
  return decoder({
    modelType: "smollm3",
    vocabSize: sizes.vocabSize,
    maxPositionEmbeddings: rope.maxPositionEmbeddings,
    embed: embedding(sizes),
    layers: windows.map((window, layer) => [
      attention({
        ...{ layer, ...sizes, rope: rotates[layer] ? "rope" : undefined, window },
        ...{ hasBiases, hasOutputBias: hasBiases },
      }),
      feedForward({ layer, ...sizes, hasBiases: hasMlpBiases }),
    ]),
    lmHead: lmHead(sizes),
    positionTables: { rope: rope.table },
    ignoredTensors: ignoredTensors(sizes),
    warnings: rope.warnings,
  });
};

/**
 * Whether each layer rotates queries and keys, first to last.
 *
 * @throws {StartupError} for a list of another length than the layers.
 */
function rotatingLayers(
  { num_hidden_layers: numLayers, ...fields }: z.output<typeof SmolLM3Json>,
  file: string,
): readonly boolean[] {
  const { no_rope_layers: listed, no_rope_layer_interval: interval } = fields;
  if (listed === undefined || listed === null) {
    return Array.from({ length: numLayers }, (_, layer) => (layer + 1) % interval !== 0);
  }
  if (listed.length === numLayers) return listed.map((rotates) => rotates === 1);
  throw new StartupError(
    `${file}: field "no_rope_layers" has ${listed.length} entries: must have one for each of ` +
      `"num_hidden_layers", ${numLayers}`,
  );
}
