import { createHash, timingSafeEqual } from "node:crypto";
import { STATUS_CODE } from "@std/http";
import type { Context, MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { isLoopback } from "../base/host.ts";
import { RequestError } from "../core/errors.ts";
import { hostsOf } from "./request_target.ts";
import type { AccessRules } from "./services.ts";

/**
 * Who may call a route: everyone; holders of an API key, where there are keys; holders of an admin
 * key.
 *
 * Each route names its access in the table of `app.ts`, and its gate runs before its handler. The
 * router's own match decides, so no second reading of the URL can open what it closes.
 */
export type Access = "public" | "key" | "admin";

/** Name under which a request's context keeps the key that it was admitted with. */
const KEY = "apiKey";

/** The gate of each kind of route. */
export type Gates = Readonly<Record<Access, MiddlewareHandler>>;

/**
 * Makes the gates. A key comes in the header `Authorization: Bearer` or `x-api-key`; an admin key
 * opens what an API key opens. Without admin keys, admin routes answer only on a loopback address
 * without API keys: only programs of this machine reach the server there.
 */
export function createGates(rules: AccessRules): Gates {
  const apiKeys = new KeySet(rules.apiKeys);
  const adminKeys = new KeySet(rules.adminKeys);
  const isOpenToAdmins = adminKeys.isEmpty && apiKeys.isEmpty && isLoopback(rules.hostname);

  function requireKey(c: Context): void {
    if (apiKeys.isEmpty) return;
    const presented = presentedKeys(c);
    // An admin who presents an API key as well acts in that key's scope.
    const accepted = presented.find((key) => apiKeys.has(key)) ??
      presented.find((key) => adminKeys.has(key));
    if (accepted === undefined) refuseKey(c, presented.length > 0);
    c.set(KEY, accepted);
  }

  function requireAdmin(c: Context): void {
    if (isOpenToAdmins) return;
    requireKey(c);
    const presented = presentedKeys(c);
    if (presented.some((key) => adminKeys.has(key))) return;
    if (presented.length === 0 && !adminKeys.isEmpty) refuseKey(c, false);
    throw adminOnly(adminKeys.isEmpty);
  }

  return {
    public: (_c, next) => next(),
    key: (c, next) => (requireKey(c), next()),
    admin: (c, next) => (requireAdmin(c), next()),
  };
}

/** The key that this request was admitted with; undefined where the server asks for none. */
export function presentedKey(c: Context): string | undefined {
  return c.get(KEY);
}

/**
 * A set of secrets. Asked for one, it compares the SHA-256 digests of all of them each time, so
 * that the time taken tells nothing about how much of a key was right or which one it was.
 */
class KeySet {
  readonly #digests: readonly Uint8Array[];

  constructor(keys: readonly string[]) {
    this.#digests = keys.map(sha256);
  }

  get isEmpty(): boolean {
    return this.#digests.length === 0;
  }

  has(key: string): boolean {
    const digest = sha256(key);
    let numEqual = 0;
    for (const own of this.#digests) numEqual += Number(timingSafeEqual(digest, own));
    return numEqual > 0;
  }
}

function sha256(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
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

function adminOnly(hasNoAdminKey: boolean): RequestError {
  const message = hasNoAdminKey
    ? "This is for who runs the server: start it with --admin-key, or on a loopback address without keys"
    : "This needs the server's admin key (--admin-key); an API key does not open it";
  return new RequestError(message, {
    status: STATUS_CODE.Forbidden,
    code: "admin_key_required",
    type: "permission_error",
  });
}

/**
 * Answers only to a loopback name in the Host header when the server listens on loopback. Otherwise
 * a web page could rebind its own name to 127.0.0.1 and read answers as same-origin (DNS rebinding,
 * as in CVE-2024-28224).
 */
export function requireLocalHost(hostname: string): MiddlewareHandler {
  return async (c, next) => {
    const foreign = hostsOf(c).find(({ name }) => !isLoopback(name));
    if (foreign !== undefined && isLoopback(hostname)) {
      throw new RequestError(
        `The Host header names ${
          JSON.stringify(foreign.name.slice(0, 100))
        }: this server listens on ` +
          `${hostname} and answers to local names only. Bind another address with --host, together ` +
          "with --api-key",
        { status: STATUS_CODE.Forbidden, code: "host_not_allowed" },
      );
    }
    await next();
  };
}

/** Methods that change nothing (RFC 9110 section 9.2.1). */
const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/**
 * Refuses requests of foreign web pages that would change something. A browser sends them, with the
 * page's Origin, even where the page may not read the answer.
 */
export function refuseForeignOrigins(): MiddlewareHandler {
  return async (c, next) => {
    const origin = c.req.header("origin");
    if (
      origin !== undefined && !SAFE_METHODS.has(c.req.method) && !isAllowedOrigin(origin, c)
    ) {
      throw new RequestError(
        `A page of the origin ${JSON.stringify(origin.slice(0, 100))} may not call this server`,
        { status: STATUS_CODE.Forbidden, code: "origin_not_allowed" },
      );
    }
    await next();
  };
}

/**
 * Lets pages of the server's own origin and of local origins read answers; answers preflights
 * before any key is asked for, since browsers send none with them. Never with credentials.
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
  const url = URL.parse(origin);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) return false;
  return isLoopback(url.hostname) || url.host === c.req.header("host");
}
