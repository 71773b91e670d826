import type { Handler } from "hono";
import { encodeBase64 } from "hono/utils/encode";
import { z } from "zod";
import { embed } from "../prompt/embed.ts";
import { GenerationMeter } from "../metrics/generation_meter.ts";
import { PromptField } from "../prompt/prompt_field.ts";
import { readJson } from "../body/read_json.ts";
import { SAMPLING_FIELDS } from "../fields/sampling_fields.ts";
import { servedName } from "../served_model.ts";
import type { Services } from "../services.ts";
import { neutral, type UnsupportedFields } from "../fields/unsupported_fields.ts";

/** Most elements of a hidden state of any model. */
const MAX_DIMENSIONS = 2 ** 20;

/** Body of `POST /v1/embeddings`. */
export const EmbeddingsRequest = z.looseObject({
  model: z.string().nullish(),
  input: PromptField,
  encoding_format: z.enum(["float", "base64"]).nullish(),
  dimensions: z.int().min(1).max(MAX_DIMENSIONS).nullish(),
  normalize: z.boolean().nullish(),
  add_special_tokens: z.boolean().nullish(),
  cache_salt: SAMPLING_FIELDS.cache_salt,
});

/** Fields of vLLM's and Ollama's that would change the vectors. */
const UNSUPPORTED: UnsupportedFields = new Map([
  "truncate_prompt_tokens",
  "truncate",
  "messages",
  "options",
  "num_ctx",
].map((name) => [name, neutral("null", (value) => value === false)]));

/**
 * `POST /v1/embeddings`: a vector per text or list of token ids, pooled as the model's own
 * configuration says. With `dimensions` its first elements, normalized anew where it is normalized
 * (Matryoshka; Kusupati et al. 2022, 2205.13147).
 */
export function embeddingsRoute(services: Services): Handler {
  return async (c) => {
    const meter = new GenerationMeter(services.metrics, services.now);
    const request = await readJson(c, EmbeddingsRequest, UNSUPPORTED);
    const name = servedName(request.model, services.model);
    const embedded = await embed(c, services, { request, meter });
    if (embedded === undefined) return c.body(null);
    const isBase64 = request.encoding_format === "base64";
    const { vectors, numTokens } = embedded;
    return c.json({
      object: "list",
      data: vectors.map((values, index) => ({
        object: "embedding",
        index,
        embedding: isBase64 ? encodeBase64(littleEndian(values)) : Array.from(values),
      })),
      model: name,
      usage: { prompt_tokens: numTokens, total_tokens: numTokens },
    });
  };
}

/** f32 bytes as OpenAI's clients read them. */
function littleEndian(values: Float32Array): ArrayBuffer {
  const bytes = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, i) => bytes.setFloat32(4 * i, value, true));
  return bytes.buffer;
}
