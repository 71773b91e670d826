import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Time between two probes, ms: a reset in answer to the first arrives within it. */
const PROBE_AGAIN_MS = 100;

/** A connection whose client has closed its side before the answer was complete. */
export interface HalfClosed {
  readonly response: ServerResponse;
  /** Whether `response` is a stream of server-sent events. */
  readonly isEventStream: () => boolean;
  /** The request is incomplete and stays so. */
  readonly onBroken: () => void;
}

/**
 * Distinguishes a client that has only finished sending from one that has disconnected, while
 * `response` is not complete.
 *
 * Both have closed their side of the connection. A client that still reads ignores the probes: an
 * interim response (RFC 9110 section 15.2), or a comment in an event stream. One that has
 * disconnected answers with a reset, which fails the second probe and so closes the response.
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
  // HTTP/1.0 has no interim responses; its clients are assumed to wait.
  if (!response.headersSent && response.req.httpVersion !== "1.0") response.writeContinue();
  else if (isEventStream()) response.write(":\n\n");
}
