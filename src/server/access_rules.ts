import type { Settings } from "../core/config_schema.ts";
import { StartupError } from "../core/errors.ts";
import type { AccessRules } from "../http/services.ts";
import type { Keys } from "./keys.ts";

/** A name, or `*.` and a name; a port belongs to no rule. */
const HOST_PATTERN = /^(\*|(\*\.)?[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?)$/i;
/** A scheme, and what browsers put behind it in an Origin header. */
const ORIGIN_PATTERN =
  /^[a-z][a-z0-9+.-]*:\/\/(\*|[a-z0-9_.-]+(:\d{1,5})?|\[[0-9a-f:.]+\](:\d{1,5})?)$/i;
/** Schemes whose origins are all of the web. */
const WEB_PATTERN = /^https?:\/\/\*$/i;

/** The settings about who may call. */
export type AccessSettings = Pick<
  Settings,
  "allowedHosts" | "corsOrigins" | "allowAnyOrigin" | "metricsAccess"
>;

/**
 * Who may call a server that listens on `hostname`.
 *
 * @throws {StartupError} on a host or an origin that no header can have, and where any page may
 * call although keys are asked for, unless that was said as well.
 */
export function accessRules(settings: AccessSettings, keys: Keys, hostname: string): AccessRules {
  const { allowedHosts, corsOrigins, allowAnyOrigin, metricsAccess } = settings;
  const badHost = allowedHosts.find((host) => !HOST_PATTERN.test(host));
  if (badHost !== undefined) {
    throw new StartupError(
      "--allowed-hosts must hold names without ports, such as gpu.example or *.example, got " +
        JSON.stringify(badHost),
    );
  }
  const origins = corsOrigins.map((origin) => origin.replace(/(?<=[^/])\/$/, ""));
  const badOrigin = origins.find((origin) => origin !== "*" && !ORIGIN_PATTERN.test(origin));
  if (badOrigin !== undefined) {
    throw new StartupError(
      "--cors-origins must hold origins without paths, such as https://app.example or " +
        `tauri://localhost, or *, got ${JSON.stringify(badOrigin)}`,
    );
  }
  const isAny = origins.some((origin) => origin === "*" || WEB_PATTERN.test(origin));
  if (isAny && keys.apiKeys.length > 0 && !allowAnyOrigin) {
    throw new StartupError(
      "--cors-origins * lets every web page call with a key that it learns: name the origins, or " +
        "say --allow-any-origin (QUIRE_ALLOW_ANY_ORIGIN=true) as well",
    );
  }
  return { ...keys, hostname, allowedHosts, corsOrigins: origins, metrics: metricsAccess };
}
