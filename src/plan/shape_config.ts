import { z } from "zod";
import { StartupError } from "../core/errors.ts";
import { parseModelJson } from "../core/model_json.ts";
import { layerKinds, LayerKindsJson } from "./layer_kinds.ts";
import type { ModelShape } from "./model_shape.ts";

const count = (max: number) => z.int().min(1).max(max);

/** Fields of a config.json that KV sizes depend on, in most families. */
const ShapeJson = z.object({
  num_hidden_layers: count(512),
  num_attention_heads: count(1024),
  num_key_value_heads: count(1024).nullish(),
  head_dim: count(1024).nullish(),
  hidden_size: count(65_536),
  max_position_embeddings: count(16_777_216),
  kv_lora_rank: z.null("latent attention keeps no keys and values per head, and is not planned")
    .optional(),
});

/**
 * The shape that the parsed content of a config.json describes, in the fields that most families
 * share: the KV of each layer, but no weights. For families that the server cannot run, whose own
 * files would say more.
 *
 * @param file what error messages call it.
 * @throws {StartupError} naming the file, the field, its value and what it must be.
 */
export function parseGenericShape(
  json: unknown,
  name: string,
  file = "config.json",
): ModelShape {
  const fields = parseModelJson(ShapeJson, json, file);
  const numHeads = fields.num_attention_heads;
  const headDim = fields.head_dim ?? fields.hidden_size / numHeads;
  if (!Number.isInteger(headDim)) {
    throw new StartupError(
      `${file}: "hidden_size" ${fields.hidden_size} over "num_attention_heads" ${numHeads} gives ` +
        `heads of ${headDim}: must be an integer, or "head_dim" must say it`,
    );
  }
  const heads = { numKvHeads: fields.num_key_value_heads ?? numHeads, headDim };
  const kinds = layerKinds(
    parseModelJson(LayerKindsJson, json, file),
    fields.num_hidden_layers,
    file,
  );
  return {
    name,
    maxModelLen: fields.max_position_embeddings,
    caches: kinds.map((kind) => ({ ...kind, ...heads })),
  };
}
