import type { Context } from "hono";
import { stream } from "hono/streaming";

/** Writes the events of one stream. */
export interface SseWriter {
  /** Writes each payload as an event of JSON, all of them at once; nothing for none. */
  send(payloads: readonly unknown[]): Promise<void>;
  /** Writes one payload that is JSON already, in the style that names no events. */
  sendJson(json: string): Promise<void>;
  /** Ends the stream, with `data: [DONE]` where its style has that. */
  done(): Promise<void>;
}

/** What an API's events look like beside their JSON. */
export interface SseStyle {
  /** Whether each event has its payload's `type` for a name. */
  readonly namesEvents: boolean;
  readonly endsWithDone: boolean;
  /** Whether each payload is a line of JSON and no event, so that nothing can be said between. */
  readonly isLines?: boolean;
  /** Sent while nothing else is; absent: a comment. */
  readonly keepAlive?: object;
}

/** As OpenAI's chunks come. */
const PLAIN: SseStyle = { namesEvents: false, endsWithDone: true };

/** The source of a stream of server-sent events. */
export interface SseHandlers {
  /** Writes the stream, which ends when this promise settles. */
  readonly write: (sse: SseWriter) => Promise<void>;
  /** The client has gone away; further writes do nothing. */
  readonly onGone: () => void;
}

/**
 * Answers with server-sent events (WHATWG HTML section 9.2). After `keepAliveMs` without an event
 * it writes a comment or the style's own event, which clients skip and which keeps proxies from
 * closing a quiet stream; never with 0, and never before the first event, since some clients take
 * the first line for an answer.
 */
export function streamSse(
  c: Context,
  keepAliveMs: number,
  handlers: SseHandlers,
  { namesEvents, endsWithDone, keepAlive, isLines = false }: SseStyle = PLAIN,
): Response {
  const toEvent = isLines ? toLine : namesEvents ? toNamedEvent : toPlainEvent;
  const heartbeat = keepAlive === undefined ? ": keep-alive\n\n" : toEvent(keepAlive);
  c.header("content-type", isLines ? "application/x-ndjson" : "text/event-stream; charset=utf-8");
  c.header("cache-control", "no-cache");
  c.header("x-accel-buffering", "no");
  return stream(c, async (out) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    function rearm(): void {
      clearTimeout(timer);
      if (keepAliveMs > 0 && !isLines) timer = setTimeout(beat, keepAliveMs);
    }
    function beat(): void {
      void out.write(heartbeat);
      rearm();
    }
    async function write(text: string): Promise<void> {
      await out.write(text);
      rearm();
    }
    out.onAbort(handlers.onGone);
    try {
      await handlers.write({
        send: async (payloads) => {
          if (payloads.length > 0) await write(payloads.map(toEvent).join(""));
        },
        sendJson: (json) => write(`data: ${json}\n\n`),
        done: async () => {
          if (endsWithDone) await write("data: [DONE]\n\n");
        },
      });
    } finally {
      clearTimeout(timer);
    }
  });
}

function toPlainEvent(payload: unknown): string {
  return `data: ${JSON.stringify(payload)}\n\n`;
}

function toLine(payload: unknown): string {
  return `${JSON.stringify(payload)}\n`;
}

function toNamedEvent(payload: unknown): string {
  return `event: ${(payload as { readonly type: string }).type}\n${toPlainEvent(payload)}`;
}
