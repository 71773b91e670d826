import { STATUS_CODE } from "@std/http";
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { messageErrorBody } from "./messages/message_errors.ts";
import { ollamaErrorBody } from "./ollama/ollama_errors.ts";
import { EngineUnavailableError, type ErrorData, RequestError } from "../core/errors.ts";

/**
 * Seconds after which a refused client may try again: a queue drains faster than an engine starts.
 */
export const RETRY_AFTER_SECONDS: Readonly<Record<number, string>> = {
  [STATUS_CODE.TooManyRequests]: "1",
  [STATUS_CODE.ServiceUnavailable]: "5",
};

/** An error as OpenAI's clients expect it; `code` is a string or null, never a number. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
    /** The error's details, such as `n_prompt_tokens`. */
    readonly [detail: string]: string | number | null;
  };
}

/** The body of an error's answer. */
export function errorBody(data: ErrorData): ErrorBody {
  const { message, type, param, code, details } = data;
  return { error: { ...details, message, type, param, code } };
}

/** The part of `error` for clients: everything of a refusal, nothing of a bug's internals. */
export function toErrorData(error: unknown): ErrorData {
  if (error instanceof RequestError || error instanceof EngineUnavailableError) return error.data;
  if (error instanceof HTTPException && error.status < 500) {
    return new RequestError(error.message, { status: error.status }).data;
  }
  return {
    status: STATUS_CODE.InternalServerError,
    type: "server_error",
    code: "internal_error",
    message: "The server failed to process the request; its log says why under the request id",
    param: null,
  };
}

/**
 * Whether `error` is a bug of the server, which belongs in the log with its stack. An error that
 * the engine reports of one sequence is no bug, whatever its status.
 */
export function isServerFailure(error: unknown): boolean {
  return !(error instanceof RequestError) &&
    toErrorData(error).status === STATUS_CODE.InternalServerError;
}

/** Paths of APIs that have errors of their own shape. */
const OTHER_BODIES:
  readonly (readonly [RegExp, typeof messageErrorBody | typeof ollamaErrorBody])[] = [
    [/^(\/v1)?\/messages/, messageErrorBody],
    [/^\/api\//, ollamaErrorBody],
  ];

/** Answers a request that ended in `error`, with the headers that middleware has set. */
export function errorResponse(c: Context, error: unknown): Response {
  const data = toErrorData(error);
  const retryAfter = data.details?.retry_after_seconds ?? RETRY_AFTER_SECONDS[data.status];
  if (retryAfter !== undefined) c.header("retry-after", String(retryAfter));
  const [, otherBody] = OTHER_BODIES.find(([path]) => path.test(c.req.path)) ?? [];
  const body = otherBody === undefined ? errorBody(data) : otherBody(data, c.get("requestId"));
  return c.json(body, data.status as ContentfulStatusCode);
}
