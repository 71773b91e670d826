import { z } from "zod";
import { StartupError } from "../core/errors.ts";
import { modelFile, type ModelFiles, parseModelJson, readModelJson } from "../core/model_json.ts";
import { layerKinds, LayerKindsJson } from "./layer_kinds.ts";
import type { LayerGroup, ModelShape } from "./model_shape.ts";

const count = (max: number) => z.int().min(1).max(max);

/** Fields of a config.json that KV sizes depend on, in any family. */
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

/** Further fields that weight sizes depend on, in families with Llama's matrices. */
const WeightsJson = z.object({
  model_type: z.enum(["llama", "mistral", "qwen2", "qwen3"]),
  hidden_size: count(65_536),
  num_attention_heads: count(1024),
  intermediate_size: count(1_048_576),
  vocab_size: count(1_048_576),
  tie_word_embeddings: z.boolean().default(false),
});

/**
 * Reads the shape of a model from its config.json, whether the server can run it or not.
 *
 * @throws {StartupError} naming the file, the field, its value and what it must be.
 */
export function loadShape(files: ModelFiles, name: string): ModelShape {
  const file = modelFile(files, "config.json");
  const json = readModelJson(files, "config.json");
  if (json === undefined) throw new StartupError(`${file} is missing: not a model directory`);
  return parseShape(json, name, file);
}

/**
 * The shape that the parsed content of a config.json describes. A model of several modalities is
 * planned for by its `text_config`.
 *
 * @param file what error messages call it.
 * @throws {StartupError} as {@link loadShape}.
 */
export function parseShape(json: unknown, name: string, file = "config.json"): ModelShape {
  const text = textConfig(json);
  const fields = parseModelJson(ShapeJson, text, file);
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
    parseModelJson(LayerKindsJson, text, file),
    fields.num_hidden_layers,
    file,
  );
  const groups = new Map<string, LayerGroup>();
  for (const { kind, window } of kinds) {
    const numLayers = (groups.get(kind)?.numLayers ?? 0) + 1;
    groups.set(kind, { kind, numLayers, ...heads, ...(window === undefined ? {} : { window }) });
  }
  const lastGroup = [...groups.keys()].indexOf(kinds.at(-1)!.kind);
  return {
    name,
    maxModelLen: fields.max_position_embeddings,
    groups: [...groups.values()],
    ...(lastGroup === groups.size - 1 ? {} : { lastGroup }),
    ...weightShape(text),
  };
}

/** The sizes of weights where the family is one whose matrices are known. */
function weightShape(text: unknown): Pick<ModelShape, "weights"> {
  const { data } = WeightsJson.safeParse(text);
  if (data === undefined) return {};
  return {
    weights: {
      hiddenSize: data.hidden_size,
      numHeads: data.num_attention_heads,
      intermediateSize: data.intermediate_size,
      vocabSize: data.vocab_size,
      tieWordEmbeddings: data.tie_word_embeddings,
    },
  };
}

function textConfig(json: unknown): unknown {
  if (typeof json !== "object" || json === null || "num_hidden_layers" in json) return json;
  return "text_config" in json ? json.text_config : json;
}
