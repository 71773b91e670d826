import { createHash, timingSafeEqual } from "node:crypto";
import { STATUS_CODE } from "@std/http";
import type { Context, MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { RequestError } from "../core/errors.ts";

/** Where a request's context keeps the key it was let in with. */
const KEY = "apiKey";

/** The only path that answers without a key; exact, so that no spelling of another path matches. */
const PUBLIC_PATH = "/health";

/**
 * Lets a request pass whose `Authorization: Bearer` or `x-api-key` header holds one of `keys`; with no
 * keys, every request. Everything but `/health` is closed by default, unknown paths included.
 *
 * Keys are compared as SHA-256 digests, all of them each time, so that the time taken tells nothing
 * about how much of a key was right or which one it was.
 */
export function requireApiKey(keys: readonly string[]): MiddlewareHandler {
  const digests = keys.map(sha256);
  return async (c, next) => {
    if (digests.length > 0 && new URL(c.req.url).pathname !== PUBLIC_PATH) {
      const presented = presentedKeys(c);
      let accepted: string | undefined;
      for (const key of presented) {
        let numEqual = 0;
        for (const digest of digests) numEqual += Number(timingSafeEqual(sha256(key), digest));
        if (numEqual > 0) accepted = key;
      }
      if (accepted === undefined) refuseKey(c, presented.length > 0);
      c.set(KEY, accepted);
    }
    await next();
  };
}

/** The key that let this request in; undefined where the server asks for none. */
export function presentedKey(c: Context): string | undefined {
  return c.get(KEY);
}

function presentedKeys(c: Context): string[] {
  const [, bearer] = /^Bearer +(\S+)\s*$/i.exec(c.req.header("authorization") ?? "") ?? [];
  return [bearer, c.req.header("x-api-key")].filter((key) => key !== undefined);
}

function refuseKey(c: Context, isPresent: boolean): never {
  c.header("www-authenticate", "Bearer");
  const message = isPresent
    ? "The API key is not one of this server's"
    : "No API key given: send the header Authorization: Bearer KEY, or x-api-key: KEY";
  throw new RequestError(message, { status: STATUS_CODE.Unauthorized, code: "invalid_api_key" });
}

function sha256(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

/**
 * Answers only to a loopback name in the Host header when the server listens on loopback. Otherwise a web page could rebind its own name to 127.0.0.1 and read answers
 * as same-origin (DNS rebinding, as in CVE-2024-28224).
 */
export function requireLocalHost(hostname: string): MiddlewareHandler {
  return async (c, next) => {
    const host = hostnameOf(c.req.header("host") ?? new URL(c.req.url).host);
    if (isLoopback(hostname) && !isLoopback(host)) {
      throw new RequestError(
        `The Host header names ${
          JSON.stringify(host)
        }: this server listens on ${hostname} and answers ` +
          "to local names only. Bind another address with --host, together with --api-key",
        { status: 403, code: "host_not_allowed" },
      );
    }
    await next();
  };
}

/** Strips port and brackets off a Host header or address. */
function hostnameOf(host: string): string {
  return host.replace(/:\d*$/, "").replace(/^\[(.*)\]$/, "$1").toLowerCase();
}

/** Whether a host name or address means this machine and no other. */
export function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  return host === "localhost" || host.endsWith(".localhost") || host === "::1" ||
    /^127(\.\d{1,3}){3}$/.test(host);
}

/**
 * Lets pages of the server's own origin and of local origins read answers; answers preflights before
 * any key is asked for, since browsers send none with them. Never with credentials.
 */
export function allowLocalOrigins(): MiddlewareHandler {
  return cors({
    origin: (origin, c) => isAllowedOrigin(origin, c) ? origin : null,
    allowMethods: ["GET", "HEAD", "POST", "DELETE"],
    exposeHeaders: ["x-request-id", "retry-after"],
    maxAge: 600,
  });
}

function isAllowedOrigin(origin: string, c: Context): boolean {
  if (!URL.canParse(origin)) return false;
  const { protocol, host, hostname } = new URL(origin);
  if (protocol !== "http:" && protocol !== "https:") return false;
  return isLoopback(hostname) || host === c.req.header("host");
}
