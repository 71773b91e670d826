import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { type ErrorData, RequestError } from "../core/errors.ts";
import { errorBody } from "../http/error_response.ts";
import { checkHost, checkTarget } from "../http/access/request_target.ts";

/** Why a request is refused before anything else reads its URL; undefined for a plain one. */
export function refusalOf(
  { url = "", headersDistinct: { host: hosts = [] }, httpVersion }: IncomingMessage,
): ErrorData | undefined {
  try {
    checkTarget(url);
    // Only HTTP/1.0 knows requests without a host, and no browser sends one.
    if (hosts.length > 0 || httpVersion !== "1.0") checkHost(hosts.join());
    return undefined;
  } catch (error) {
    if (error instanceof RequestError) return error.data;
    throw error;
  }
}

/**
 * Answers with an error and closes the connection, since what follows on it may not be a request.
 */
export function writeError(response: ServerResponse, data: ErrorData): void {
  const body = JSON.stringify(errorBody(data));
  response.writeHead(data.status, {
    "content-type": "application/json",
    "content-length": new TextEncoder().encode(body).byteLength,
    "connection": "close",
  });
  response.end(body);
}

/**
 * Answers on a connection whose request cannot be read to its end, and closes it; `latest` is the
 * latest answer begun there. If that answer has not begun it is sent first; if it is being sent, it
 * ends with the connection.
 */
export function answerBrokenRequest(
  error: Error & { readonly code?: string },
  socket: Socket,
  latest: ServerResponse | undefined,
): void {
  const isOpen = latest !== undefined && !latest.writableFinished && socket.writable;
  if (isOpen && latest.req.complete) latest.once("finish", () => socket.destroySoon());
  else if (error.code === "ECONNRESET" || !socket.writable || (isOpen && latest.headersSent)) {
    socket.destroy();
  } else endWith(socket, describe(error));
}

/** A client has closed its side of the connection before its request was complete. */
export class UnfinishedRequestError extends Error {
  readonly code = "UNFINISHED";
}

function endWith(socket: Socket, data: ErrorData): void {
  const body = JSON.stringify(errorBody(data));
  socket.end(
    `HTTP/1.1 ${data.status} ${STATUS_CODES[data.status]}\r\n` +
      `content-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

function describe({ code }: { readonly code?: string }): ErrorData {
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    const message = "The request did not arrive whole in time";
    return new RequestError(message, { status: 408, code: "request_timeout" }).data;
  }
  if (code === "HPE_HEADER_OVERFLOW") {
    const message = "The header of the request must be at most 16 KiB";
    return new RequestError(message, { status: 431, code: "header_too_large" }).data;
  }
  if (code === "UNFINISHED") {
    const message = "The body ended early: the client closed its side of the connection";
    return new RequestError(message, { code: "invalid_body" }).data;
  }
  const message = `The request is no well-formed HTTP/1.1${code === undefined ? "" : ` (${code})`}`;
  return new RequestError(message, { code: "invalid_http" }).data;
}
