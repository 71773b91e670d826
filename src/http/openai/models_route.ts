import type { Handler } from "hono";
import { servedName } from "../served_model.ts";
import type { Services } from "../services.ts";

/** `GET /v1/models`. */
export function modelsRoute(services: Services): Handler {
  return (c) =>
    c.json({
      object: "list",
      data: services.model.names.map((name) => describeModel(name, services)),
    });
}

/** `GET /v1/models/NAME`, whose name may contain slashes, escaped or not; without one, the list. */
export function modelRoute(services: Services): Handler {
  const list = modelsRoute(services);
  return (c, next) => {
    const name = c.req.param("name") ?? "";
    return name === ""
      ? list(c, next)
      : c.json(describeModel(servedName(name, services.model), services));
  };
}

/** Lengths under the names that clients look for: vLLM's and llama.cpp's. */
function describeModel(id: string, { engine, model }: Services) {
  const { info } = engine;
  return {
    id,
    object: "model",
    created: model.created,
    owned_by: "quire",
    root: model.names[0],
    parent: null,
    ...(info === undefined ? {} : { max_model_len: info.maxModelLen }),
    meta: {
      n_ctx_train: model.maxPositionEmbeddings,
      ...(info === undefined ? {} : {
        n_ctx: info.maxModelLen,
        n_vocab: info.vocabSize,
        n_params: info.numParameters,
        size: info.weightBytes,
      }),
    },
  };
}
