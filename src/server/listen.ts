import { StartupError } from "../core/errors.ts";

/** An HTTP server that is bound to its port. */
export interface Listening {
  /** Where clients reach it. */
  readonly url: string;
  /** Takes no further connections and waits for the open ones. */
  shutdown(): Promise<void>;
}

/**
 * Binds `host:port` and answers with `fetch`.
 *
 * @throws {StartupError} when the address cannot be bound, naming the flag to change.
 */
export function listen(
  { host, port }: { host: string; port: number },
  fetch: (request: Request) => Response | Promise<Response>,
): Listening {
  try {
    const server = Deno.serve({ hostname: host, port, onListen: () => {} }, fetch);
    const shown = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host;
    const name = shown.includes(":") ? `[${shown}]` : shown;
    return { url: `http://${name}:${server.addr.port}`, shutdown: () => server.shutdown() };
  } catch (error) {
    throw new StartupError(describe(error, host, port));
  }
}

function describe(error: unknown, host: string, port: number): string {
  if (error instanceof Deno.errors.AddrInUse) {
    return `Port ${port} on ${host} is in use; choose another with --port, or 0 for any free one`;
  }
  if (error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotCapable) {
    return `Not allowed to listen on ${host}:${port}; choose a port above 1023 with --port`;
  }
  const reason = error instanceof Error ? error.message : String(error);
  return `Cannot listen on ${host}:${port} (--host, --port): ${reason}`;
}
