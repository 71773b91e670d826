import { STATUS_CODE } from "@std/http";
import type { Context, MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { isLoopback } from "../../base/host.ts";
import { RequestError } from "../../core/errors.ts";
import type { AccessRules } from "../services.ts";
import { quoted } from "../refusals.ts";
import { IGNORED_FIELDS_HEADER } from "../fields/ignored_fields.ts";

/** Methods that change nothing (RFC 9110 section 9.2.1). */
const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** Headers of answers that pages may read, besides those that they always may. */
const EXPOSED_HEADERS = [
  "x-request-id",
  "retry-after",
  IGNORED_FIELDS_HEADER,
  "x-ratelimit-limit-requests",
  "x-ratelimit-remaining-requests",
  "x-ratelimit-limit-tokens",
  "x-ratelimit-remaining-tokens",
  "x-ratelimit-reset-tokens",
];

/**
 * Refuses requests of foreign web pages that would change something. A browser sends them, with the
 * page's Origin, even where the page may not read the answer.
 */
export function refuseForeignOrigins({ corsOrigins = [] }: AccessRules): MiddlewareHandler {
  return async (c, next) => {
    const origin = c.req.header("origin");
    const isSafe = origin === undefined || SAFE_METHODS.has(c.req.method);
    if (!isSafe && !isAllowedOrigin(origin, c, corsOrigins)) {
      throw new RequestError(
        `A page of the origin ${quoted(origin, 100)} may not call this server: ` +
          "--cors-origins names those that may",
        { status: STATUS_CODE.Forbidden, code: "origin_not_allowed" },
      );
    }
    await next();
  };
}

/**
 * Lets pages of the server's own origin, of local origins and of those that are allowed by name
 * read answers; answers preflights before any key is asked for, since browsers send none with them.
 * Never with credentials.
 */
export function allowOrigins({ corsOrigins = [] }: AccessRules): MiddlewareHandler {
  const answerPages = cors({
    origin: (origin, c) => isAllowedOrigin(origin, c, corsOrigins) ? origin : null,
    allowMethods: ["GET", "HEAD", "POST", "DELETE"],
    exposeHeaders: EXPOSED_HEADERS,
    maxAge: 600,
  });
  return async (c, next) => {
    const isOfPage = c.req.header("origin") !== undefined || c.req.method === "OPTIONS";
    if (isOfPage) return await answerPages(c, next);
    // Programs send no Origin. Headers that are set before there is an answer have Hono make it
    // twice, which costs a tenth of a short request.
    await next();
    c.res.headers.append("vary", "Origin");
  };
}

/**
 * Whether pages of an origin may call. A rule is an origin such as `https://app.example` or
 * `tauri://localhost`, a scheme with `*` for every origin of it, or `*` for all.
 */
function isAllowedOrigin(origin: string, c: Context, rules: readonly string[]): boolean {
  const lower = origin.toLowerCase();
  const isNamed = rules.some((rule) => {
    const named = rule.toLowerCase();
    return named === "*" || named === lower ||
      (named.endsWith("://*") && lower.startsWith(named.slice(0, -1)));
  });
  if (isNamed) return true;
  const url = URL.parse(origin);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) return false;
  return isLoopback(url.hostname) || url.host === c.req.header("host");
}
