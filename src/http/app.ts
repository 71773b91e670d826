import { STATUS_CODE } from "@std/http";
import { type Context, type Handler, Hono, type MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { methodNotAllowed } from "hono/method-not-allowed";
import { requestId } from "hono/request-id";
import { RequestError } from "../core/errors.ts";
import { kvCheckRoute, kvCurveRoute, resetPrefixCacheRoute } from "./admin_route.ts";
import { allowLocalOrigins, requireApiKey, requireLocalHost } from "./access.ts";
import { chatRoute } from "./chat_route.ts";
import { completionsRoute } from "./completions_route.ts";
import { errorResponse, isServerFailure } from "./error_response.ts";
import { healthRoute, metricsRoute, versionRoute } from "./health_route.ts";
import { kvPlanRoute } from "./kv_plan_route.ts";
import { kvEventsRoute } from "./kv_events_route.ts";
import { kvLogRoute } from "./kv_log_route.ts";
import { kvResizeRoute } from "./kv_resize_route.ts";
import { modelRoute, modelsRoute } from "./models_route.ts";
import { pinRoute, unpinRoute } from "./pin_route.ts";
import type { Services } from "./services.ts";
import { detokenizeRoute, tokenizeRoute } from "./tokenize_route.ts";

/**
 * The server's HTTP surface: `createApp(services).fetch` goes to `Deno.serve`.
 *
 * Checks run from the outside in: request id, Host header, CORS preflight, API key, body size; then a
 * route. Whatever goes wrong is answered in OpenAI's error shape.
 */
export function createApp(services: Services): Hono {
  const { access, limits, log } = services;
  const app = new Hono();
  app.use(requestId());
  app.use(logAccess(services));
  app.use(requireLocalHost(access.hostname));
  app.use(allowLocalOrigins());
  app.use(requireApiKey(access.apiKeys));
  app.use(methodNotAllowed({ app, onMethodNotAllowed: refuseMethod }));
  app.use(bodyLimit({ maxSize: limits.maxBodyBytes, onError: (c) => refuseBody(c, limits) }));

  const routes: readonly (readonly ["GET" | "POST" | "DELETE", string, Handler])[] = [
    ["POST", "/v1/chat/completions", chatRoute(services)],
    ["POST", "/v1/completions", completionsRoute(services)],
    ["GET", "/v1/models", modelsRoute(services)],
    ["GET", "/v1/models/*", modelRoute(services)],
    ["POST", "/tokenize", tokenizeRoute(services)],
    ["POST", "/detokenize", detokenizeRoute(services)],
    ["GET", "/health", healthRoute(services)],
    ["GET", "/metrics", metricsRoute(services)],
    ["GET", "/version", versionRoute(services)],
    ["POST", "/reset_prefix_cache", resetPrefixCacheRoute(services)],
    ["GET", "/admin/kv/check", kvCheckRoute(services)],
    ["POST", "/admin/kv/pins", pinRoute(services)],
    ["DELETE", "/admin/kv/pins/:name", unpinRoute(services)],
    ["POST", "/admin/kv/resize", kvResizeRoute(services)],
    ["GET", "/admin/kv/curve", kvCurveRoute(services)],
    ["GET", "/admin/kv/log", kvLogRoute(services)],
    ["GET", "/kv/events", kvEventsRoute(services)],
    ["GET", "/admin/kv/plan", kvPlanRoute(services)],
  ];
  for (const [method, path, handler] of routes) app.on(method, path, handler);
  const paths = routes.map(([, path]) => path);
  app.notFound((c) => errorResponse(c, noSuchPath(c.req.path, paths)));
  app.onError((error, c) => {
    if (isServerFailure(error)) {
      log.error("request failed", { request_id: c.get("requestId"), error });
    }
    return errorResponse(c, error);
  });
  return app;
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

function refuseBody(c: Context, { maxBodyBytes }: Services["limits"]): Response {
  return errorResponse(
    c,
    new RequestError(`The body must be at most ${maxBodyBytes} bytes`, {
      status: STATUS_CODE.ContentTooLarge,
      code: "request_too_large",
    }),
  );
}

/** Polled paths, whose lines would drown the others. */
const QUIET_PATHS: ReadonlySet<string> = new Set(["/health", "/metrics"]);

/** One line per answered request, when its answer or stream begins. */
function logAccess({ log, now }: Services): MiddlewareHandler {
  return async (c, next) => {
    const startMs = now();
    await next();
    const { method, path } = c.req;
    const write = QUIET_PATHS.has(path) ? log.debug : log.info;
    write("request", {
      request_id: c.get("requestId"),
      method,
      path,
      status: c.res.status,
      ms: Math.round(now() - startMs),
    });
  };
}
