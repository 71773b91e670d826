import { STATUS_CODE } from "@std/http";
import type { ErrorData } from "../../core/errors.ts";

/** Anthropic's kinds of errors by status; others are the server's. */
const TYPES: Readonly<Record<number, string>> = {
  [STATUS_CODE.BadRequest]: "invalid_request_error",
  [STATUS_CODE.Unauthorized]: "authentication_error",
  [STATUS_CODE.Forbidden]: "permission_error",
  [STATUS_CODE.NotFound]: "not_found_error",
  [STATUS_CODE.ContentTooLarge]: "request_too_large",
  [STATUS_CODE.TooManyRequests]: "rate_limit_error",
  [STATUS_CODE.ServiceUnavailable]: "overloaded_error",
};

/** An error as Anthropic's clients expect it, whole and as an event. */
export function messageErrorBody({ status, message }: ErrorData, requestId: string) {
  const type = TYPES[status] ?? (status < 500 ? "invalid_request_error" : "api_error");
  return { type: "error", error: { type, message }, request_id: requestId };
}
