import type { Context, MiddlewareHandler } from "hono";
import { type Host, parseHost } from "../../base/host.ts";
import { RequestError } from "../../core/errors.ts";
import { quoted } from "../refusals.ts";

/** Name under which a request's context keeps the hosts that it names. */
const HOSTS = "hosts";

/** Characters of a path or query (RFC 3986), and those that browsers leave unescaped in a query. */
const ORIGIN_FORM =
  /^\/(?!\/)[\w!$%&'()*+,\-.\/:;=@[\]~|^]*(?:\?[\w!$%&'()*+,\-.\/:;=@[\]~|^?{}]*)?$/;
/** A dot segment, escaped or not, which parsers resolve to the folder itself or the one above. */
const DOT_SEGMENT = /^(?:\.|%2e){1,2}$/i;
const BAD_ESCAPE = /%(?![0-9a-f]{2})/i;

/** A URL as received: authority, then target, not normalized by any parser. */
const RAW_URL = /^https?:\/\/([^/?#]*)(.*)$/s;

/**
 * Refuses a request target other than a plain origin-form path and query (RFC 9112 section 3.2.1):
 * parsers that read different paths in one target could check one and open the other.
 *
 * @throws {RequestError} 400 `invalid_target`.
 */
export function checkTarget(target: string): void {
  const [path = ""] = target.split("?", 1);
  const isPlain = ORIGIN_FORM.test(target) && !BAD_ESCAPE.test(path) &&
    !path.split("/").some((segment) => DOT_SEGMENT.test(segment));
  if (isPlain) return;
  throw new RequestError(
    "The request target must be a plain path such as /v1/models, with a query at most, " +
      `got ${quoted(target, 100)}`,
    { code: "invalid_target" },
  );
}

/**
 * Parses a Host header.
 *
 * @throws {RequestError} 400 `invalid_host` when it is no plain `host[:port]`.
 */
export function checkHost(host: string): Host {
  const parsed = parseHost(host);
  if (parsed !== undefined) return parsed;
  throw new RequestError(
    `The Host header must be a plain host[:port] with a port up to 65535, got ${quoted(host, 100)}`,
    { code: "invalid_host" },
  );
}

/**
 * Holds each request to {@link checkTarget} and {@link checkHost} before anything reads its URL.
 */
export function requirePlainTarget(): MiddlewareHandler {
  return async (c, next) => {
    const [, authority = "", target = ""] = RAW_URL.exec(c.req.url) ?? [];
    const hosts = [authority, c.req.header("host")].filter((host) => host !== undefined);
    c.set(HOSTS, hosts.map(checkHost));
    checkTarget(target === "" ? "/" : target);
    await next();
  };
}

/** The hosts that a request names, in its Host header and in its URL. */
export function hostsOf(c: Context): readonly Host[] {
  return c.get(HOSTS);
}
