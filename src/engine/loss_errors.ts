import {
  engineUnavailable,
  EngineUnavailableError,
  type ErrorData,
  RequestError,
} from "../core/errors.ts";
import { MAX_LOSSES_WITHOUT_TOKEN } from "./kept_request.ts";

/** The error of a request that goes to no other engine after its own has failed. */
export const ENGINE_FAILED: ErrorData = engineUnavailable(
  "The engine stopped while it worked on this request; try again",
);

/** The error of a request that several engines in a row were lost with. */
export const LOST_TOO_OFTEN: ErrorData = {
  status: 500,
  type: "server_error",
  code: "engine_lost",
  message:
    `The engine was lost ${MAX_LOSSES_WITHOUT_TOKEN} times while it worked on this request, ` +
    `which got no further in between; it is not tried again`,
  param: null,
};

/** The error of a request that has perhaps hung a thread which cannot be ended. */
export const HANGS: ErrorData = {
  status: 500,
  type: "server_error",
  code: "engine_lost",
  message: "The engine hung soon after it had begun with this request, and its thread cannot be " +
    "ended; the request is not tried again",
  param: null,
};

/** The error of all requests when no other engine is started. */
export function givenUp(reason: string): ErrorData {
  return engineUnavailable(
    `The engine has failed, and no other is started in its place: ${reason}`,
  );
}

/** The exception of a submission that ends with `error` before it is accepted. */
export function rejection(error: ErrorData): Error {
  return error.code === "engine_unavailable"
    ? new EngineUnavailableError(error.message)
    : new RequestError(error.message, error);
}
