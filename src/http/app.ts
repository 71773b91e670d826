import { STATUS_CODE } from "@std/http";
import { type Context, type Handler, Hono, type MiddlewareHandler } from "hono";
import { methodNotAllowed } from "hono/method-not-allowed";
import { requestId } from "hono/request-id";
import { RequestError } from "../core/errors.ts";
import { kvCheckRoute, kvCurveRoute, resetPrefixCacheRoute } from "./admin/admin_route.ts";
import { type Access, createGates, type Gates } from "./access/access.ts";
import { chatRoute } from "./openai/chat_route.ts";
import { completionsRoute } from "./openai/completions_route.ts";
import { docsRoute } from "./openapi/docs_route.ts";
import { embeddingsRoute } from "./openai/embeddings_route.ts";
import { errorResponse, isServerFailure } from "./error_response.ts";
import { healthRoute, liveRoute, metricsRoute, versionRoute } from "./health_route.ts";
import { requireAllowedHost } from "./access/host_rules.ts";
import { countTokensRoute, messagesRoute } from "./messages/messages_route.ts";
import { kvPlanRoute } from "./admin/kv_plan_route.ts";
import { kvEventsRoute } from "./admin/kv_events_route.ts";
import { kvLogRoute } from "./admin/kv_log_route.ts";
import { kvResizeRoute } from "./admin/kv_resize_route.ts";
import { abortRequestRoute, machinePathRoute, machineRoute } from "./machine/machine_route.ts";
import { modelRoute, modelsRoute } from "./openai/models_route.ts";
import { ollamaEmbeddingRoute, ollamaEmbedRoute } from "./ollama/ollama_embed.ts";
import {
  ollamaPsRoute,
  ollamaShowRoute,
  ollamaTagsRoute,
  ollamaVersionRoute,
} from "./ollama/ollama_models.ts";
import { ollamaChatRoute, ollamaGenerateRoute } from "./ollama/ollama_route.ts";
import { openApiRoute } from "./openapi/openapi_route.ts";
import { allowOrigins, refuseForeignOrigins } from "./access/origin_rules.ts";
import { pinRoute, unpinRoute } from "./admin/pin_route.ts";
import { requestTraceRoute } from "./admin/request_trace_route.ts";
import { applyTemplateRoute, renderRoute } from "./openai/render_route.ts";
import { rerankRoute } from "./openai/rerank_route.ts";
import { propsRoute, slotsRoute } from "./props_route.ts";
import { boundBodies } from "./body/request_body.ts";
import { requirePlainTarget } from "./access/request_target.ts";
import {
  inputTokensRoute,
  responsesRoute,
  storedResponseRoute,
} from "./responses/responses_route.ts";
import type { Services } from "./services.ts";
import { detokenizeRoute, tokenizeRoute } from "./openai/tokenize_route.ts";
import { indexRoute, windowRoute } from "./window_route.ts";

/** A route: method and path, who may call it, and its handler. */
type Route = readonly [method: "GET" | "POST" | "DELETE", path: string, Access, Handler];

/** Who passes which gate, by the setting of `/metrics`. */
const METRICS_GATES = { open: "public", key: "key", admin: "admin" } as const;

/** Every route of this server. */
function routesOf(services: Services): readonly Route[] {
  const { metrics = "key" } = services.access;
  const metricsRoutes: Route[] = metrics === "off"
    ? []
    : [["GET", "/metrics", METRICS_GATES[metrics], metricsRoute(services)]];
  const routes: readonly Route[] = [
    ["POST", "/v1/chat/completions", "key", chatRoute(services)],
    ["POST", "/v1/completions", "key", completionsRoute(services)],
    ["POST", "/v1/chat/completions/render", "key", renderRoute(services)],
    ["POST", "/apply-template", "key", applyTemplateRoute(services)],
    ["POST", "/v1/embeddings", "key", embeddingsRoute(services)],
    ["POST", "/v1/rerank", "key", rerankRoute(services)],
    ["POST", "/v1/messages", "key", messagesRoute(services)],
    ["POST", "/v1/messages/count_tokens", "key", countTokensRoute(services)],
    ["POST", "/v1/responses", "key", responsesRoute(services)],
    ["POST", "/v1/responses/input_tokens", "key", inputTokensRoute(services)],
    ["GET", "/v1/responses/:id", "key", storedResponseRoute],
    ["DELETE", "/v1/responses/:id", "key", storedResponseRoute],
    ["GET", "/v1/models", "key", modelsRoute(services)],
    ["GET", "/v1/models/:name{.*}", "key", modelRoute(services)],
    ["POST", "/tokenize", "key", tokenizeRoute(services)],
    ["POST", "/detokenize", "key", detokenizeRoute(services)],
    ["POST", "/api/chat", "key", ollamaChatRoute(services)],
    ["POST", "/api/generate", "key", ollamaGenerateRoute(services)],
    ["GET", "/api/tags", "key", ollamaTagsRoute(services)],
    ["GET", "/api/ps", "key", ollamaPsRoute(services)],
    ["POST", "/api/embed", "key", ollamaEmbedRoute(services)],
    ["POST", "/api/embeddings", "key", ollamaEmbeddingRoute(services)],
    ["POST", "/api/show", "key", ollamaShowRoute(services)],
    ["GET", "/api/version", "key", ollamaVersionRoute(services)],
    ["GET", "/health", "public", healthRoute(services)],
    ["GET", "/ready", "public", healthRoute(services)],
    ["GET", "/live", "public", liveRoute(services)],
    ...metricsRoutes,
    ["GET", "/version", "key", versionRoute(services)],
    ["GET", "/props", "key", propsRoute(services)],
    ["GET", "/slots", "key", slotsRoute(services)],
    ["POST", "/reset_prefix_cache", "admin", resetPrefixCacheRoute(services)],
    ["GET", "/admin/kv/check", "admin", kvCheckRoute(services)],
    ["POST", "/admin/kv/pins", "admin", pinRoute(services)],
    ["DELETE", "/admin/kv/pins/:name", "admin", unpinRoute(services)],
    ["POST", "/admin/kv/resize", "admin", kvResizeRoute(services)],
    ["GET", "/admin/kv/curve", "admin", kvCurveRoute(services)],
    ["GET", "/admin/kv/log", "admin", kvLogRoute(services)],
    ["GET", "/admin/kv/plan", "admin", kvPlanRoute(services)],
    ["GET", "/admin/machine", "admin", machineRoute(services)],
    ["GET", "/admin/machine/path", "admin", machinePathRoute(services)],
    ["GET", "/admin/requests/:id", "admin", requestTraceRoute(services)],
    ["DELETE", "/admin/requests/:id", "admin", abortRequestRoute(services)],
    ["GET", "/kv/events", "admin", kvEventsRoute(services)],
    ["GET", "/openapi.json", "public", openApiRoute(() => routes, services.version)],
    ["GET", "/docs", "public", docsRoute()],
    ["GET", "/", "public", indexRoute(services)],
    ["GET", "/window/:file{.+}", "public", windowRoute(services)],
  ];
  return routes;
}

/**
 * The server's HTTP surface: `createApp(services).fetch` answers requests.
 *
 * Checks run from the outside in: request id, request target and Host header, Origin, CORS
 * preflight; then the gate of the route that matches, and the route. A path without a route is
 * closed like a route for API keys. Every error is answered in OpenAI's shape, or in that of the
 * API whose path it is.
 */
export function createApp(services: Services): Hono {
  const { access, limits, log } = services;
  // A slash at the end of a path changes nothing.
  const app = new Hono({ strict: false });
  const gates = createGates(access, services.now, services.metrics);
  const routes = routesOf(services);
  app.use(requestId());
  app.use(logAccess(services));
  app.use(requirePlainTarget());
  app.use(requireAllowedHost(access));
  app.use(refuseForeignOrigins(access));
  app.use(allowOrigins(access));
  app.use(boundBodies(limits));
  app.use(dropBodyOfHead);
  app.use(methodNotAllowed({ app, onMethodNotAllowed: refuseMethod }));
  for (const [method, path, who, handler] of routes) {
    for (const spelling of spellingsOf(path)) app.on(method, spelling, gates[who], handler);
  }
  app.notFound((c) => closed(c, gates, routes.map(([, path]) => path)));
  app.onError((error, c) => {
    if (isServerFailure(error)) {
      log.error("request failed", { request_id: c.get("requestId"), error });
    }
    return errorResponse(c, error);
  });
  return app;
}

/** Paths of the API's endpoints that have no `/v1` in front by custom, but may have one. */
const UNVERSIONED: ReadonlySet<string> = new Set([
  ...["/tokenize", "/detokenize", "/apply-template", "/health"],
]);

/** A path with and without `/v1`, where clients of other servers send both. */
function spellingsOf(path: string): readonly string[] {
  if (path.startsWith("/v1/")) return [path, path.slice("/v1".length)];
  return UNVERSIONED.has(path) ? [path, `/v1${path}`] : [path];
}

/** Cancels the body of an answer to HEAD: a stream of events would never end by itself. */
const dropBodyOfHead: MiddlewareHandler = async (c, next) => {
  await next();
  if (c.req.method === "HEAD") await c.res.body?.cancel();
};

/** Tells holders of a key that no route matches, and others nothing. */
async function closed(c: Context, gates: Gates, paths: readonly string[]): Promise<Response> {
  await gates.key(c, () => Promise.resolve());
  return errorResponse(c, noSuchPath(c.req.path, paths));
}

function noSuchPath(path: string, paths: readonly string[]): RequestError {
  const meant = [`/v1${path}`, path.replace(/^(\/v1)+/, "/v1"), path.replace(/^\/v1\//, "/")]
    .find((candidate) => candidate !== path && paths.includes(candidate));
  const hint = meant === undefined ? "" : `: did you mean ${meant}?`;
  return new RequestError(`There is no ${path.slice(0, 200)} on this server${hint}`, {
    status: STATUS_CODE.NotFound,
    code: "not_found",
  });
}

function refuseMethod(c: Context, methods: string[]): Response {
  c.header("allow", methods.join(", "));
  const { method, path } = c.req;
  return errorResponse(
    c,
    new RequestError(`${path.slice(0, 200)} takes ${methods.join(", ")}, got ${method}`, {
      status: STATUS_CODE.MethodNotAllowed,
      code: "method_not_allowed",
    }),
  );
}

/** Polled paths, whose lines, like those of the window's files, would drown the others. */
const QUIET_PATHS: ReadonlySet<string> = new Set(["/health", "/ready", "/live", "/metrics"]);

/** One line per answered request, when its answer or stream begins. */
function logAccess({ log, now }: Services): MiddlewareHandler {
  return async (c, next) => {
    const startMs = now();
    await next();
    const { method, path } = c.req;
    const isQuiet = QUIET_PATHS.has(path) || path.startsWith("/window/");
    const write = isQuiet ? log.debug : log.info;
    write("request", {
      request_id: c.get("requestId"),
      method,
      path,
      status: c.res.status,
      ms: Math.round(now() - startMs),
    });
  };
}
