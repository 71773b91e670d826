import type { Handler } from "hono";
import { servedName } from "./served_model.ts";
import type { Services } from "./services.ts";

const PATH = "/v1/models/";

/** `GET /v1/models`. */
export function modelsRoute(services: Services): Handler {
  return (c) =>
    c.json({
      object: "list",
      data: services.model.names.map((name) => describeModel(name, services)),
    });
}

/** `GET /v1/models/*`: names contain slashes, escaped or not. */
export function modelRoute(services: Services): Handler {
  return (c) => {
    const { pathname } = new URL(c.req.url);
    const name = servedName(decode(pathname.slice(PATH.length)), services.model);
    return c.json(describeModel(name, services));
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
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
      n_ctx_train: model.numContextTokensTrained,
      ...(info === undefined ? {} : {
        n_ctx: info.maxModelLen,
        n_vocab: info.vocabSize,
        n_params: info.numParameters,
        size: info.weightBytes,
      }),
    },
  };
}
