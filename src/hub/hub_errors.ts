import { StartupError } from "../core/errors.ts";

/** What went wrong between us and the hub or its cache. */
export type HubErrorKind =
  | "gated"
  | "refused-token"
  | "no-repo"
  | "no-revision"
  | "no-file"
  | "network"
  | "server"
  | "disk"
  | "hash"
  | "offline"
  | "permission"
  | "busy";

/** A failure that the user can act on: its message is one sentence that says how. */
export class HubError extends StartupError {
  override name = "HubError";
  constructor(readonly kind: HubErrorKind, message: string) {
    super(message);
  }
}

/** An answer of another status than 2xx. */
export class HttpFailure extends Error {
  override name = "HttpFailure";
  readonly status: number;
  /** Who answers. */
  readonly host: string;
  /** Whether that is another one than was asked: where the hub keeps what is large. */
  readonly isRedirected: boolean;
  /** The hub's own word: `GatedRepo`, `RepoNotFound`, `RevisionNotFound`, `EntryNotFound`. */
  readonly code: string | undefined;
  /** How long the server asks to wait, ms. */
  readonly retryAfterMs: number | undefined;

  constructor(
    { status, host, isRedirected = false, code, retryAfterMs, message }: {
      readonly status: number;
      readonly host: string;
      readonly isRedirected?: boolean;
      readonly code?: string | undefined;
      readonly retryAfterMs?: number | undefined;
      readonly message: string;
    },
  ) {
    super(message);
    this.status = status;
    this.host = host;
    this.isRedirected = isRedirected;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** No connection, or one that was cut; the message is the system's reason. */
export class NetworkError extends Error {
  override name = "NetworkError";

  /** What `fetch`, or the body of its answer, has thrown. */
  static of(error: unknown): NetworkError {
    const { message, cause } = error as Error;
    return new NetworkError(cause instanceof Error ? cause.message : message, { cause: error });
  }
}

/** A server that sends nothing for too long. */
export class StallError extends Error {
  override name = "StallError";
}

/** A server that breaks the protocol: too long, too short, or without what it must say. */
export class ProtocolError extends Error {
  override name = "ProtocolError";
}

const TRANSIENT_STATUSES = [408, 425, 429, 500, 502, 503, 504];

/** Whether the same request may succeed a little later. */
export function isTransient(error: unknown): boolean {
  if (error instanceof HttpFailure) {
    // Addresses of large files carry a signature that expires; the next redirect has a new one.
    return TRANSIENT_STATUSES.includes(error.status) || error.isRedirected && error.status === 403;
  }
  return error instanceof StallError || error instanceof NetworkError;
}

/** Whether no connection came about: nothing listens, no such host, no network. */
export function isUnreachable(error: unknown): boolean {
  return error instanceof NetworkError && /\(Connect\)/.test(error.message);
}

/** The sentence for a hub that cannot be reached, or that does not stop failing. */
export function unreachableError(endpoint: string, error: Error): HubError {
  if (error instanceof HttpFailure) {
    const wait = error.retryAfterMs === undefined
      ? "try again later"
      : `it asks to wait ${Math.ceil(error.retryAfterMs / 1000)} s`;
    const place = placeOf(error.host, endpoint);
    return new HubError("server", `${place} answers with ${error.status}: ${wait}`);
  }
  const reason = error.message;
  const host = URL.parse(/for url \((\S+)\)/.exec(reason)?.[1] ?? "")?.host;
  const words = reason.replace(/^.*\(Connect\): /, "").replace(/ for url \(\S+\)/, "");
  return new HubError(
    "network",
    `Cannot reach ${placeOf(host, endpoint)} (${words}): check the network, the proxy and ` +
      "HF_ENDPOINT, or set HF_HUB_OFFLINE=1 to use what is in the cache",
  );
}

/** The endpoint, or a host that it redirects to. */
function placeOf(host: string | undefined, endpoint: string): string {
  if (host === undefined || host === new URL(endpoint).host) return endpoint;
  return `${host}, to which ${endpoint} redirects,`;
}
