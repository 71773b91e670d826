import type { Handler } from "hono";
import { embed } from "../prompt/embed.ts";
import { GenerationMeter } from "../metrics/generation_meter.ts";
import { readJson } from "../body/read_json.ts";
import type { Services } from "../services.ts";
import { checkContext } from "./ollama_chat.ts";
import { ollamaModel } from "./ollama_models.ts";
import { OllamaEmbeddingRequest, OllamaEmbedRequest } from "./ollama_schema.ts";

const READ_OPTIONS = { takesForms: true };
const NS_PER_MS = 1e6;

/**
 * `POST /api/embed`: a normalized vector per text. A text that is too long is refused, where
 * Ollama cuts it.
 */
export function ollamaEmbedRoute(services: Services): Handler {
  return async (c) => {
    const meter = new GenerationMeter(services.metrics, services.now);
    const request = await readJson(c, OllamaEmbedRequest, new Map(), READ_OPTIONS);
    const model = ollamaModel(request.model, services.model);
    checkContext(request.options, services.engine);
    const { input, dimensions } = request;
    if (input.length === 0) return c.json({ model, embeddings: [] });
    const texts = { input, dimensions, normalize: true };
    const embedded = await embed(c, services, { request: texts, meter });
    if (embedded === undefined) return c.body(null);
    return c.json({
      model,
      embeddings: embedded.vectors.map((values) => Array.from(values)),
      total_duration: Math.round(meter.elapsedMs() * NS_PER_MS),
      load_duration: 0,
      prompt_eval_count: embedded.numTokens,
    });
  };
}

/** `POST /api/embeddings`, its predecessor: one text, and the vector as the model makes it. */
export function ollamaEmbeddingRoute(services: Services): Handler {
  return async (c) => {
    const meter = new GenerationMeter(services.metrics, services.now);
    const request = await readJson(c, OllamaEmbeddingRequest, new Map(), READ_OPTIONS);
    ollamaModel(request.model, services.model);
    checkContext(request.options, services.engine);
    if ((request.prompt ?? "") === "") return c.json({ embedding: [] });
    const embedded = await embed(c, services, { request: { input: request.prompt! }, meter });
    if (embedded === undefined) return c.body(null);
    return c.json({ embedding: Array.from(embedded.vectors[0]!) });
  };
}
