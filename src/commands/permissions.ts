import { StartupError } from "../core/errors.ts";

/** What a command must be allowed to do, by Deno's names. */
export interface Needs {
  /** Paths. */
  readonly read?: readonly string[];
  readonly write?: readonly string[];
  /** Hosts, with ports where one is meant. */
  readonly net?: readonly string[];
}

/** Whether Deno has granted a permission; asks nobody. */
export type IsGranted = (permission: Deno.PermissionDescriptor) => boolean;

/** Of this process. */
export const isGranted: IsGranted = (permission) =>
  Deno.permissions.querySync(permission).state === "granted";

/**
 * Makes sure of permissions before they are used, since Deno would otherwise prompt at the
 * terminal, or end with a stack.
 *
 * @throws {StartupError} with the flags that are missing.
 */
export function requirePermissions(needs: Needs, granted: IsGranted = isGranted): void {
  const missing = missingFlags(needs, granted);
  if (missing.length === 0) return;
  throw new StartupError(
    `Deno does not allow what this needs: start with ${missing.join(" ")}, or with "deno run -A ` +
      'main.ts" for everything',
  );
}

/** Deno's flags for what is needed and not granted. */
export function missingFlags(
  { read = [], write = [], net = [] }: Needs,
  granted: IsGranted = isGranted,
): string[] {
  const flag = (name: string, values: readonly string[]) =>
    values.length === 0 ? [] : [shellQuoted(`--allow-${name}=${[...new Set(values)].join(",")}`)];
  return [
    ...flag("net", net.filter((host) => !granted({ name: "net", host }))),
    ...flag("read", read.filter((path) => !granted({ name: "read", path }))),
    ...flag("write", write.filter((path) => !granted({ name: "write", path }))),
  ];
}

/** The host of an address, as a permission names it. */
export function netHost(url: string): string {
  const { hostname, port, protocol } = new URL(url);
  return `${hostname}:${port === "" ? protocol === "https:" ? 443 : 80 : port}`;
}

/** A place to listen at, as a permission names it; port 0 may become any. */
export function listenHost({ host, port }: { readonly host: string; readonly port: number }) {
  const name = host.includes(":") ? `[${host}]` : host;
  return port === 0 ? name : `${name}:${port}`;
}

function shellQuoted(text: string): string {
  return /[\s'"$]/.test(text) ? `"${text}"` : text;
}
