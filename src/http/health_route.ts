import { STATUS_CODE } from "@std/http";
import type { Handler } from "hono";
import { EngineUnavailableError } from "../core/errors.ts";
import { errorBody, RETRY_AFTER_SECONDS, toErrorData } from "./error_response.ts";
import { outageJson } from "./outage_json.ts";
import { unavailability } from "./served_model.ts";
import type { Services } from "./services.ts";

/**
 * `GET /health` and `GET /ready`: 200 when the engine takes requests, else 503 with the engine's
 * state and the reason, and with how far its start is, or what has been lost and when another
 * engine is tried. `stalled_seconds` is there while a step takes unusually long.
 */
export function healthRoute({ engine, start }: Services): Handler {
  return (c) => {
    const reason = unavailability(engine);
    const notice = engine.notice === undefined ? {} : { notice: engine.notice };
    if (reason === undefined) {
      // What blocks it, which names requests, is in the log.
      const stalled = engine.stall && { stalled_seconds: engine.stall.seconds };
      return c.json({ status: "ok", state: engine.state, ...notice, ...stalled });
    }
    c.header("retry-after", RETRY_AFTER_SECONDS[STATUS_CODE.ServiceUnavailable]);
    const outage = outageJson(engine);
    const { error } = errorBody(toErrorData(new EngineUnavailableError(reason)));
    return c.json(
      {
        status: "unavailable",
        state: engine.state,
        reason,
        ...notice,
        ...(outage === undefined ? {} : { outage }),
        ...(engine.state === "starting" && start !== undefined ? { start: start() } : {}),
        error,
      },
      STATUS_CODE.ServiceUnavailable,
    );
  };
}

/**
 * `GET /live`: 200 as long as the process may come to serve by itself, so also while the engine
 * starts or is replaced; 503 once it has failed for good, and only another process helps.
 */
export function liveRoute({ engine }: Services): Handler {
  return (c) => {
    const { state } = engine;
    if (state !== "failed") return c.json({ status: "ok", state });
    return c.json({ status: "failed", state }, STATUS_CODE.ServiceUnavailable);
  };
}

/** `GET /metrics` in Prometheus's text format. */
export function metricsRoute({ metrics }: Services): Handler {
  return async (c) => c.body(await metrics.text(), 200, { "content-type": metrics.contentType });
}

/** `GET /version`. */
export function versionRoute({ version }: Services): Handler {
  return (c) => c.json({ version });
}
