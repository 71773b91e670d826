import type { Handler } from "hono";
import { encodeBase64 } from "hono/utils/encode";
import { z } from "zod";
import { checkPromptFits } from "../core/context_limit.ts";
import { RequestError } from "../core/errors.ts";
import { embeddingOf, vectorOf } from "./embedding_vector.ts";
import { numPromptsIn, PromptField, promptsIn } from "./prompt_field.ts";
import { checkPromptChars } from "./prompt_limits.ts";
import { readJson } from "./read_json.ts";
import { checkNumPrompts, numTokensOf, readPrompts } from "./read_prompts.ts";
import { requireReady, servedName } from "./served_model.ts";
import type { Services } from "./services.ts";
import type { UnsupportedFields } from "./unsupported_fields.ts";

/** Most elements of a hidden state of any model. */
const MAX_DIMENSIONS = 2 ** 20;
const MAX_SALT_CHARS = 1024;

/** Body of `POST /v1/embeddings`. */
export const EmbeddingsRequest = z.looseObject({
  model: z.string().nullish(),
  input: PromptField,
  encoding_format: z.enum(["float", "base64"]).nullish(),
  dimensions: z.int().min(1).max(MAX_DIMENSIONS).nullish(),
  normalize: z.boolean().nullish(),
  add_special_tokens: z.boolean().nullish(),
  cache_salt: z.string().min(1).max(MAX_SALT_CHARS).nullish(),
});

/** Fields of vLLM's and Ollama's that would change the vectors. */
const UNSUPPORTED: UnsupportedFields = new Map([
  "truncate_prompt_tokens",
  "truncate",
  "messages",
  "options",
  "num_ctx",
].map((name) => [name, { isNeutral: (value) => value === false, neutral: "null" }]));

/**
 * `POST /v1/embeddings`: a vector per text or list of token ids, pooled as the model's own
 * configuration says. With `dimensions` its first elements, normalized anew where it is normalized
 * (Matryoshka; Kusupati et al. 2022, 2205.13147).
 */
export function embeddingsRoute(services: Services): Handler {
  const { engine, text, model } = services;
  return async (c) => {
    const request = await readJson(c, EmbeddingsRequest, UNSUPPORTED);
    const name = servedName(request.model, model);
    const form = embeddingOf(model);
    const dimensions = checkDimensions(request.dimensions ?? form.size, form.size);
    checkNumPrompts(numPromptsIn(request.input), "input", services.limits);

    const { maxModelLen, vocabSize } = requireReady(engine);
    const given = promptsIn(request.input, "input", vocabSize);
    const texts = given.filter((one) => typeof one === "string");
    const { maxCharsPerToken } = model;
    for (const one of texts) {
      checkPromptChars(one.length, "input", { maxModelLen, maxCharsPerToken });
    }
    const addSpecialTokens = request.add_special_tokens ?? true;
    const encoded = (await text.encode(texts, { addSpecialTokens })).values();
    const prompts = given.map((one) =>
      typeof one === "string" ? encoded.next().value! : Uint32Array.from(one)
    );
    for (const { length } of prompts) checkPromptFits(length, "input", maxModelLen);

    const { pooling } = form;
    const read = await readPrompts(c, services, {
      idPrefix: "embd-",
      param: "input",
      prompts,
      readout: { pooling },
      cacheSalt: request.cache_salt,
    });
    if (read === undefined) return c.body(null);
    const isNormalized = request.normalize ?? form.isNormalized;
    const isBase64 = request.encoding_format === "base64";
    const numTokens = numTokensOf(prompts);
    return c.json({
      object: "list",
      data: read.reports.map(({ vector }, index) => {
        const values = vectorOf(vector!, { dimensions, isNormalized });
        return {
          object: "embedding",
          index,
          embedding: isBase64 ? encodeBase64(littleEndian(values)) : Array.from(values),
        };
      }),
      model: name,
      usage: { prompt_tokens: numTokens, total_tokens: numTokens },
    });
  };
}

function checkDimensions(dimensions: number, size: number): number {
  if (dimensions <= size) return dimensions;
  throw new RequestError(
    `dimensions must be at most ${size}, the size of the model's vectors, got ${dimensions}`,
    { code: "invalid_value", param: "dimensions" },
  );
}

/** f32 bytes as OpenAI's clients read them. */
function littleEndian(values: Float32Array): ArrayBuffer {
  const bytes = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, i) => bytes.setFloat32(4 * i, value, true));
  return bytes.buffer;
}
