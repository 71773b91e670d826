import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Between two probes: the answer to the first, a reset, has come by then. */
const PROBE_AGAIN_MS = 100;

/** Whose client has closed its side of the connection before the answer was complete. */
export interface HalfClosed {
  readonly response: ServerResponse;
  /** Whether `response` is a stream of server-sent events. */
  readonly isEventStream: () => boolean;
  /** The request has not arrived whole, and never will. */
  readonly onBroken: () => void;
}

/**
 * Tells a client that has only finished sending from one that has left, while `response` is not
 * complete.
 *
 * Both have closed their side of the connection. One that still reads ignores what is written here:
 * an interim response (RFC 9110 section 15.2) or a comment in an event stream. One that has left
 * answers with a reset, which fails the second write and so closes the response.
 */
export function probeWhenHalfClosed(socket: Socket, halfClosed: HalfClosed): void {
  const { response, onBroken } = halfClosed;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const onEnd = () => {
    if (!response.req.complete) return onBroken();
    probe(halfClosed);
    timer = setTimeout(() => probe(halfClosed), PROBE_AGAIN_MS);
  };
  socket.once("end", onEnd);
  response.once("close", () => {
    clearTimeout(timer);
    socket.off("end", onEnd);
  });
}

function probe({ response, isEventStream }: HalfClosed): void {
  if (response.writableEnded || response.destroyed) return;
  // Interim responses are unknown to HTTP/1.0; its clients are taken to wait.
  if (!response.headersSent && response.req.httpVersion !== "1.0") response.writeContinue();
  else if (isEventStream()) response.write(":\n\n");
}
