import type { Context } from "hono";
import { stream } from "hono/streaming";

/** Writes the events of one stream. */
export interface SseWriter {
  /** Writes each payload as a `data:` event of JSON, all of them at once. */
  send(payloads: readonly unknown[]): Promise<void>;
  /** Writes `data: [DONE]`, after which nothing follows. */
  done(): Promise<void>;
}

/** The source of a stream of server-sent events. */
export interface SseHandlers {
  /** Writes the stream, which ends when this promise settles. */
  readonly write: (sse: SseWriter) => Promise<void>;
  /** The client has gone away; further writes do nothing. */
  readonly onGone: () => void;
}

/**
 * Answers with server-sent events (WHATWG HTML section 9.2). After `keepAliveMs` without an event
 * it writes a comment, which clients skip and which keeps proxies from closing a quiet stream;
 * never with 0, and never before the first event, since some clients take the first line for an
 * answer.
 */
export function streamSse(c: Context, keepAliveMs: number, handlers: SseHandlers): Response {
  c.header("content-type", "text/event-stream; charset=utf-8");
  c.header("cache-control", "no-cache");
  c.header("x-accel-buffering", "no");
  return stream(c, async (out) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    function rearm(): void {
      clearTimeout(timer);
      if (keepAliveMs > 0) timer = setTimeout(beat, keepAliveMs);
    }
    function beat(): void {
      void out.write(": keep-alive\n\n");
      rearm();
    }
    async function write(text: string): Promise<void> {
      await out.write(text);
      rearm();
    }
    out.onAbort(handlers.onGone);
    try {
      await handlers.write({
        send: (payloads) => write(payloads.map(toEvent).join("")),
        done: () => write("data: [DONE]\n\n"),
      });
    } finally {
      clearTimeout(timer);
    }
  });
}

function toEvent(payload: unknown): string {
  return `data: ${JSON.stringify(payload)}\n\n`;
}
