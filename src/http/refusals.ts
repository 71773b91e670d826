import { STATUS_CODE } from "@std/http";
import { type ErrorData, RequestError } from "../core/errors.ts";

/** Longest part of a client's text that a refusal repeats, in characters. */
const MAX_QUOTED_CHARS = 40;

/** The refusal of a value that the field, or the rest of the request, does not allow. */
export function invalid(param: string, message: string): RequestError {
  return new RequestError(message, { code: "invalid_value", param });
}

/** The refusal of what the API knows and this server, or its model, does not do. */
export function unsupported(param: string, message: string): RequestError {
  return new RequestError(message, { code: "unsupported_parameter", param });
}

/** The refusal of a name that nothing here has. */
export function notFound(param: string, message: string): RequestError {
  return new RequestError(message, { status: STATUS_CODE.NotFound, code: "not_found", param });
}

/** The refusal of a part of a message that is no text: an image, say. */
export function noText(
  param: string,
  type: string,
  { names: [name] }: { readonly names: readonly string[] },
): RequestError {
  return unsupported(param, `${param} is ${quoted(type)}: the model ${name} reads text alone`);
}

/** The failure of a sequence, in the engine's words where it has any. */
export function engineFailure(error: ErrorData | undefined): RequestError {
  const status = STATUS_CODE.InternalServerError;
  return new RequestError(error?.message ?? "The engine failed", { status, ...error });
}

/** The failure of an answer that an operator has aborted, in an API without a word for that. */
export function givenUp(): RequestError {
  return new RequestError("The answer was given up before its end", {
    status: STATUS_CODE.InternalServerError,
    type: "server_error",
    code: "aborted",
  });
}

/** @throws {RequestError} naming the field, where it is absent or null. */
export function required<T>(value: T | null | undefined, param: string): T {
  if (value !== undefined && value !== null) return value;
  throw new RequestError(`${param} is required`, { code: "missing_required_parameter", param });
}

/** A client's text, short enough for a refusal; ids, paths and headers may be longer. */
export function quoted(text: string, maxChars = MAX_QUOTED_CHARS): string {
  return JSON.stringify(text.slice(0, maxChars).toWellFormed());
}
