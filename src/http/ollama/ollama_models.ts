import { createHash } from "node:crypto";
import type { Handler } from "hono";
import type { EngineInfo } from "../../core/engine_config.ts";
import { readJson } from "../body/read_json.ts";
import { required } from "../refusals.ts";
import { requireReady, servedName } from "../served_model.ts";
import type { ServedModel, Services } from "../services.ts";
import { OllamaShowRequest } from "./ollama_schema.ts";

/** The version of Ollama's API that these endpoints follow: clients ask for a lowest one. */
const API_VERSION = "0.12.0";
/** What Ollama's clients put behind a name without a tag. */
const DEFAULT_TAG = ":latest";
/** No model is unloaded by itself. */
const NEVER = "9999-12-31T23:59:59Z";

/**
 * The served name that Ollama's clients mean by `name`, with or without its tag.
 *
 * @throws {RequestError} 404 as `servedName` does.
 */
export function ollamaModel(name: string, model: ServedModel): string {
  const bare = name.endsWith(DEFAULT_TAG) ? name.slice(0, -DEFAULT_TAG.length) : name;
  return servedName(model.names.includes(bare) ? bare : name, model);
}

/** `GET /api/tags`: the served model under each of its names. */
export function ollamaTagsRoute({ engine, model }: Services): Handler {
  return (c) => c.json({ models: model.names.map((name) => describe(name, model, engine.info)) });
}

/** `GET /api/ps`: the same; the model is loaded for as long as the server runs. */
export function ollamaPsRoute({ engine, model }: Services): Handler {
  return (c) => {
    const { info } = engine;
    if (info === undefined) return c.json({ models: [] });
    const loaded = describe(model.names[0]!, model, info);
    return c.json({
      models: [{
        ...loaded,
        expires_at: NEVER,
        size_vram: info.deviceKind === "cpu" ? 0 : info.weightBytes + info.kvCacheBytes,
        context_length: info.maxModelLen,
      }],
    });
  };
}

/** `POST /api/show`: what is known of a served model. */
export function ollamaShowRoute(services: Services): Handler {
  const { engine, model, tools } = services;
  return async (c) => {
    const request = await readJson(c, OllamaShowRequest, new Map(), { takesForms: true });
    const name = required(request.model ?? request.name, "model");
    ollamaModel(name, model);
    const info = requireReady(engine);
    const { details, modified_at } = describe(name, model, info);
    return c.json({
      modelfile: `FROM ${model.names[0]}\n`,
      parameters: parametersOf(model),
      template: model.chatTemplate ?? "",
      details,
      model_info: {
        "general.architecture": info.modelType,
        "general.parameter_count": info.numParameters,
        [`${info.modelType}.context_length`]: info.maxModelLen,
        [`${info.modelType}.vocab_size`]: info.vocabSize,
      },
      capabilities: [
        ...(model.lacksLmHead === true ? [] : ["completion"]),
        ...(model.embedding !== undefined && "pooling" in model.embedding ? ["embedding"] : []),
        ...(tools.notation === undefined ? [] : ["tools"]),
        ...(model.thinking === undefined ? [] : ["thinking"]),
      ],
      modified_at,
    });
  };
}

/** `GET /api/version`. */
export function ollamaVersionRoute({ version }: Services): Handler {
  return (c) => c.json({ version: API_VERSION, quire_version: version });
}

function describe(name: string, model: ServedModel, info: EngineInfo | undefined) {
  const family = info?.modelType ?? "unknown";
  return {
    name,
    model: name,
    modified_at: new Date(model.created * 1000).toISOString(),
    size: info?.weightBytes ?? 0,
    digest: digestOf(name, info),
    details: {
      parent_model: "",
      format: model.fileFormat ?? "safetensors",
      family,
      families: [family],
      parameter_size: sizeText(info?.numParameters ?? 0),
      quantization_level: info?.quantization?.method ?? "unknown",
    },
  };
}

/** Tells models apart; it is no digest of the weights, which are not read for it. */
function digestOf(name: string, info: EngineInfo | undefined): string {
  const { modelType, numParameters, weightBytes } = info ?? {};
  const identity = JSON.stringify([name, modelType, numParameters, weightBytes]);
  return createHash("sha256").update(identity).digest("hex");
}

/** Such as `1.7B` or `12.3M`. */
function sizeText(numParameters: number): string {
  const [unit, letter] = numParameters >= 1e9
    ? [1e9, "B"] as const
    : numParameters >= 1e6
    ? [1e6, "M"] as const
    : [1e3, "K"] as const;
  return `${(numParameters / unit).toFixed(1)}${letter}`;
}

/** The model's sampling defaults as lines of a Modelfile. */
function parametersOf({ defaults }: ServedModel): string {
  const { temperature, topP, topK, minP, repetitionPenalty } = defaults;
  return Object.entries({
    temperature,
    top_p: topP,
    top_k: topK,
    min_p: minP,
    repeat_penalty: repetitionPenalty,
  }).flatMap(([name, value]) => value === undefined ? [] : [`${name} ${value}`]).join("\n");
}
