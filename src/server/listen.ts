import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { isEveryAddress } from "../base/host.ts";
import { StartupError } from "../core/errors.ts";
import { Connections } from "./connections.ts";
import {
  answerBrokenRequest,
  refusalOf,
  UnfinishedRequestError,
  writeError,
} from "./early_answers.ts";
import { probeWhenHalfClosed } from "./half_close.ts";
import { withinSpanOf } from "./otel_spans.ts";

/** An HTTP server that is bound to its port. */
export interface Listening {
  /** The address it listens on, as the system reports it. */
  readonly address: string;
  /** Where a client on this machine reaches it. */
  readonly url: string;
  /** The place it listens at, in words. */
  readonly place: string;
  /** Open connections. */
  readonly numConnections: () => number;
  /** Stops accepting connections and waits for the open ones. */
  shutdown(): Promise<void>;
}

/** Bounds of the connections, times in ms. */
export interface ConnectionLimits {
  readonly maxConnections: number;
  /** Limit for the header of a request, from its first byte or from connecting. */
  readonly headersTimeoutMs: number;
  /** Limit for a whole request; the app's own limit for bodies is shorter and explains itself. */
  readonly requestTimeoutMs: number;
  /**
   * Time that a connection may wait for its next request; longer than proxies wait, which is 60 s
   * at most, so that they close first.
   */
  readonly idleTimeoutMs: number;
  /** Time within which a client must receive some of an answer that waits for it. */
  readonly writeTimeoutMs: number;
}

/** Bounds of a real server; tests pass smaller ones. */
export const DEFAULT_BOUNDS: ConnectionLimits = {
  maxConnections: 1024,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 75_000,
  idleTimeoutMs: 65_000,
  writeTimeoutMs: 60_000,
};

/** Connections above the limit, so that a new one can take an idle one's place. */
const SPARE_CONNECTIONS = 32;

/**
 * Binds `host:port` and answers with `fetch`.
 *
 * Connections are `node:http`'s, since Deno's own server bounds neither their number nor their
 * time, and ends the process when file descriptors run out.
 *
 * @throws {StartupError} when the address cannot be bound, naming the flag to change.
 */
export async function listen(
  { host, port }: { host: string; port: number },
  fetch: (request: Request) => Response | Promise<Response>,
  bounds: ConnectionLimits = DEFAULT_BOUNDS,
): Promise<Listening> {
  const { maxConnections, writeTimeoutMs } = bounds;
  const connections = new Connections({ maxConnections, writeTimeoutMs });
  const server = createHttpServer(fetch, bounds, connections);
  try {
    await bind(server, host.replace(/^\[(.*)\]$/, "$1"), port);
  } catch (error) {
    throw new StartupError(describe(error, host, port));
  }
  const bound = server.address() as { address: string; port: number };
  const sweep = setInterval(() => connections.closeStalled(performance.now()), writeTimeoutMs / 10);
  Deno.unrefTimer(sweep);
  return {
    address: bound.address,
    ...placeOf(isEveryAddress(bound.address) ? bound.address : host, bound.port),
    numConnections: () => connections.size,
    async shutdown() {
      clearInterval(sweep);
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      });
    },
  };
}

function createHttpServer(
  fetch: (request: Request) => Response | Promise<Response>,
  bounds: ConnectionLimits,
  connections: Connections,
): Server {
  const eventStreams = new WeakSet<object>();
  const listener = getRequestListener(async (request, { outgoing }) => {
    const response = await withinSpanOf(outgoing, () => fetch(request));
    const type = response.headers.get("content-type") ?? "";
    if (type.startsWith("text/event-stream")) eventStreams.add(outgoing);
    return response;
  }, { overrideGlobalObjects: false });
  const latest = new WeakMap<Socket, ServerResponse>();
  const server = createServer({
    headersTimeout: bounds.headersTimeoutMs,
    requestTimeout: bounds.requestTimeoutMs,
    keepAliveTimeout: bounds.idleTimeoutMs,
    connectionsCheckingInterval: Math.min(1000, bounds.headersTimeoutMs / 4),
  }, (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const { socket } = incoming;
    latest.set(socket, outgoing);
    connections.begin(socket);
    outgoing.once("close", () => connections.end(socket));
    const refusal = refusalOf(incoming);
    if (refusal !== undefined) return writeError(outgoing, refusal);
    probeWhenHalfClosed(socket, {
      response: outgoing,
      isEventStream: () => eventStreams.has(outgoing),
      onBroken: () => answerBrokenRequest(new UnfinishedRequestError(), socket, outgoing),
    });
    listener(incoming, outgoing);
  });
  server.maxConnections = bounds.maxConnections + SPARE_CONNECTIONS;
  server.on("connection", (socket: Socket) => {
    if (!connections.add(socket, performance.now())) return socket.destroy();
    socket.once("close", () => connections.remove(socket));
    socket.on("error", () => {});
  });
  server.on("clientError", (error: Error, socket: Socket) => {
    answerBrokenRequest(error, socket, latest.get(socket));
  });
  // A client that has sent its request and closed its side still gets its answer.
  Object.assign(server, { httpAllowHalfOpen: true });
  return server;
}

function bind(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** The URL by which a client on this machine reaches `host:port`, and the place in words. */
export function placeOf(host: string, port: number): { url: string; place: string } {
  const place = urlOf(host, port);
  if (!isEveryAddress(host)) return { url: place, place };
  return { url: urlOf("127.0.0.1", port), place: `${place} (every address of this machine)` };
}

function urlOf(host: string, port: number): string {
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  return `http://${bare.includes(":") ? `[${bare}]` : bare}:${port}`;
}

function describe(error: unknown, host: string, port: number): string {
  const { code = "", message = String(error) } = error as { code?: string; message?: string };
  if (code === "EADDRINUSE") {
    return `Port ${port} on ${host} is in use; choose another with --port, or 0 for any free one`;
  }
  if (error instanceof Deno.errors.NotCapable) {
    return `Deno's permissions do not allow listening on ${host}:${port}: "deno task start" listens ` +
      `on 127.0.0.1 alone, "deno run -A main.ts serve" anywhere (--allow-net)`;
  }
  if (code === "EACCES") {
    return `Not allowed to listen on ${host}:${port}; choose a port above 1023 with --port`;
  }
  return `Cannot listen on ${host}:${port} (--host, --port): ${message}`;
}
