import { STATUS_CODE } from "@std/http";
import type { MiddlewareHandler } from "hono";
import { type Host, isLoopback } from "../../base/host.ts";
import { RequestError } from "../../core/errors.ts";
import { quoted } from "../refusals.ts";
import { hostsOf } from "./request_target.ts";
import type { AccessRules } from "../services.ts";

/**
 * Names that nobody can register, and so rebind to 127.0.0.1: those of private networks, such as
 * `host.docker.internal`, by which containers reach their host, and of local ones (RFC 6762).
 */
const LOCAL_NAMES: readonly string[] = ["*.internal", "*.local"];

/**
 * Answers only to a name in the Host header that is local or allowed. Otherwise a web page could
 * rebind its own name to 127.0.0.1 and read answers as same-origin (DNS rebinding, as in
 * CVE-2024-28224). An address is no name that could be rebound.
 *
 * The check is on where the server listens on loopback, and where names are allowed by name.
 */
export function requireAllowedHost(
  { hostname, allowedHosts = [] }: AccessRules,
): MiddlewareHandler {
  const isChecked = isLoopback(hostname) || allowedHosts.length > 0;
  const patterns = [...LOCAL_NAMES, ...allowedHosts];
  return async (c, next) => {
    const foreign = hostsOf(c).find((host) => isChecked && !isAllowedHost(host, patterns));
    if (foreign !== undefined) {
      throw new RequestError(
        `The Host header names ${quoted(foreign.name, 100)}: this server listens ` +
          `on ${hostname} and answers to local names and to those of --allowed-hosts`,
        { status: STATUS_CODE.Forbidden, code: "host_not_allowed" },
      );
    }
    await next();
  };
}

/** A pattern is a name, `*.` and a name for all below it, or `*` for all. */
function isAllowedHost({ name }: Host, patterns: readonly string[]): boolean {
  const bare = name.replace(/\.$/, "");
  if (isLoopback(bare) || isAddress(bare)) return true;
  return patterns.some((pattern) => {
    const lower = pattern.toLowerCase();
    if (lower === "*") return true;
    return lower.startsWith("*.") ? bare.endsWith(lower.slice(1)) : bare === lower;
  });
}

/** Whether a checked host is an IP address: its last label is a number, or it has colons. */
function isAddress(name: string): boolean {
  return name.includes(":") || /(^|\.)\d+$/.test(name);
}
