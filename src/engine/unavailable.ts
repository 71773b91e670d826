import { engineUnavailable, type ErrorData } from "../core/errors.ts";
import type { EngineState } from "../core/generation.ts";

/** Why an engine takes no requests, by its state. */
export const UNAVAILABLE: Readonly<Record<Exclude<EngineState, "ready">, string>> = {
  starting: "The engine is still starting",
  restarting: "The engine has stopped and is being restarted",
  draining: "The server is shutting down",
  failed: "The engine has stopped and could not be restarted",
};

/** The error of each request in flight when its isolate died. */
export const ISOLATE_DIED: ErrorData = engineUnavailable(
  "The engine stopped while it worked on this request; try again",
);
